import ArtifactStore
import Diagnosis
import FoundationEssentials
import Glibc
import TaskProtocol
import TestSupport
import Testing

@Suite struct FileCheckTests {
    private let folder: TemporaryDirectory
    init() throws { folder = try TemporaryDirectory() }

    private func verdict(_ check: any Check) -> Finding.Verdict? { check.findings().first?.verdict }

    @Test("a store is a folder that can be read and written")
    func store() throws {
        #expect(verdict(ArtifactStoreCheck(path: folder.path)) != .fail)
        #expect(verdict(ArtifactStoreCheck(path: folder.path + "/absent")) == .fail)
        let file = folder.path + "/file"
        try Data().write(to: URL(filePath: file))
        #expect(verdict(ArtifactStoreCheck(path: file)) == .fail)
        // Root may do everything: what others are told is seen as nobody else but them.
        guard geteuid() != 0 else { return }
        #expect(chmod(folder.path, 0o500) == 0)
        let findings = ArtifactStoreCheck(path: folder.path).findings()
        #expect(findings[0].verdict == .fail && findings[0].found.contains("may not write"))
        #expect(chmod(folder.path, 0o700) == 0)
    }

    @Test("a filed model whose files are not all in the store is named")
    func filed() throws {
        let store = try ArtifactDirectory(path: folder.path + "/store")
        let manifest = try store.putDirectory(Fixtures.reference + "/gpt2")
        func row(_ name: String, _ digest: String) -> ModelRow {
            ModelRow(
                name: name, checkpoint: UUIDValue(hi: 1, lo: 1), sha256: "", uri: "sha256:" + digest, architecture: "gpt2", parameters: 1,
                contextLength: 1)
        }
        #expect(verdict(FiledModelsCheck(models: [row("a", manifest.sha256)], store: store)) == .ok)
        let missing = FiledModelsCheck(models: [row("a", manifest.sha256), row("lost", String(repeating: "0", count: 64))], store: store).findings()
        #expect(missing[0].verdict == .fail && missing[0].found.contains("1 of 2") && missing[0].found.contains("lost"))
    }

    @Test("a model's folder is understood, or what it lacks is named")
    func model() throws {
        let whole = ModelDirectoryCheck(path: Fixtures.reference + "/gpt2").findings()
        #expect(whole[0].verdict == .ok && whole[0].found.contains("gpt2"))
        #expect(verdict(ModelDirectoryCheck(path: folder.path)) == .fail)
        #expect(verdict(ModelDirectoryCheck(path: folder.path + "/absent")) == .fail)
        for name in ["config.json", "model.safetensors"] {
            try FileManager.default.copyItem(atPath: Fixtures.reference + "/gpt2/" + name, toPath: folder.path + "/" + name)
        }
        #expect(verdict(ModelDirectoryCheck(path: folder.path)) == .warn)
    }
}
