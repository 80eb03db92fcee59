import Diagnosis
import Kernels
import Testing

private func verdicts(_ check: any Check) -> [Finding.Verdict] { check.findings().map(\.verdict) }

@Suite struct MachineCheckTests {
    @Test("this machine passes its own checks or says what to mend")
    func here() {
        for check in [ProcessorCheck(), MemoryCheck(), OpenFilesCheck(), LibraryCheck()] as [any Check] {
            let findings = check.findings()
            #expect(!findings.isEmpty)
            for finding in findings { #expect((finding.verdict == .ok) == finding.remedy.isEmpty && !finding.found.isEmpty) }
        }
    }

    @Test("a processor without wide instructions, a slower set than there is, and fewer processors than threads are warned of")
    func processors() {
        #expect(verdicts(ProcessorCheck(set: .avx2, available: [.plain, .avx2], cores: 4)) == [.ok])
        #expect(verdicts(ProcessorCheck(set: .plain, available: [.plain], cores: 4)) == [.warn])
        let old = ProcessorCheck(set: .plain, available: [], cores: 4).findings()
        #expect(old.map(\.verdict) == [.fail] && old[0].remedy.contains("AVX2 or FMA"))
        let chosen = ProcessorCheck(set: .plain, available: [.plain, .avx2], cores: 4).findings()
        #expect(chosen.map(\.verdict) == [.warn] && chosen[0].remedy.contains("SCRIPTORIUM_ISA"))
        let limited = ProcessorCheck(set: .avx2, available: [.plain, .avx2], cores: 8, allowed: 2.5).findings()
        #expect(limited.map(\.verdict) == [.warn] && limited[0].remedy.contains("--threads 2"))
    }

    @Test("a function with other bits than the committed ones fails, and both numbers are shown")
    func functions() throws {
        let checks = FunctionsCheck.all([.plain], threads: 1)
        #expect(Set(checks.flatMap { $0.findings(of: 0) }.map(\.subject)).count == 16)
        for (check, survey) in zip(checks, FunctionSurvey.all) {
            #expect(check.findings(of: survey.committed) == [.ok("\(survey.name) on plain", hexadecimal(survey.committed))])
            let wrong = try #require(check.findings(of: survey.committed ^ 1).first)
            #expect(wrong.verdict == .fail && wrong.found.contains(hexadecimal(survey.committed ^ 1)) && wrong.remedy.contains("SCRIPTORIUM_ISA"))
            #expect(wrong.found.contains(hexadecimal(survey.committed)))
        }
    }

    @Test("named functions are looked at on every set, and no others")
    func namedFunctions() {
        let named = FunctionSurvey.all.filter { ["relu", "tanh'"].contains($0.name) }
        let checks = FunctionsCheck.all([.plain, .plain], threads: 1, surveys: named)
        #expect(checks.map(\.survey.name) == ["relu", "tanh'", "relu", "tanh'"])
    }

    private func hexadecimal(_ number: UInt64) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }

    @Test(
        "the control group's word on processors",
        arguments: [("max 100000\n", nil), ("150000 100000\n", 1.5), ("", nil), ("1 0", nil)] as [(String, Double?)])
    func controlGroup(text: String, allowed: Double?) { #expect(ProcessorCheck.allowed(by: text) == allowed) }

    @Test("memory is what the machine and the control group leave")
    func memory() {
        let meminfo = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n"
        #expect(verdicts(MemoryCheck(meminfo: meminfo, limit: nil)) == [.ok])
        #expect(verdicts(MemoryCheck(meminfo: meminfo, limit: "max\n")) == [.ok])
        let limited = MemoryCheck(meminfo: meminfo, limit: "536870912\n").findings()
        #expect(limited.map(\.verdict) == [.warn] && limited[0].found.hasPrefix("512.0 MiB of 15.2 GiB"))
        #expect(verdicts(MemoryCheck(meminfo: "MemTotal: 16000000 kB\nMemAvailable: 1000 kB\n", limit: nil)) == [.warn])
        #expect(verdicts(MemoryCheck(meminfo: nil, limit: nil)) == [.warn])
    }

    @Test("few open files and a library without CURVE are told")
    func limits() {
        #expect(verdicts(OpenFilesCheck(limit: 1_024)) == [.warn] && verdicts(OpenFilesCheck(limit: 65_536)) == [.ok])
        #expect(verdicts(LibraryCheck(version: "4.3.4", hasCurve: false)) == [.fail])
        #expect(verdicts(LibraryCheck(version: "4.3.4", hasCurve: true)) == [.ok])
    }
}
