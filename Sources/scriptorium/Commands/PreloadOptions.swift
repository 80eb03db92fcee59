import ArgumentParser
import Worker

/// Which models a worker holds before it calls itself ready.
struct PreloadOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A model that must have made a token before the worker is ready; repeatable. A name, name@step, a checkpoint's id or sha256:…, with "
                + "/bfloat16 or /int8 behind it where it is not wanted in float32.", valueName: "model"))
    var preload: [String] = []

    func validate() throws {
        for text in preload where PreloadRequest(text) == nil {
            throw ValidationError("--preload: \(text) is no model, such as demo, demo@500, a checkpoint's id, sha256:… or demo/int8")
        }
    }

    /// Each once, in their order.
    var requests: [PreloadRequest] {
        preload.compactMap(PreloadRequest.init).reduce(into: []) { found, request in if !found.contains(request) { found.append(request) } }
    }

    /// The same as arguments for another process.
    var arguments: [String] { preload.flatMap { ["--preload", $0] } }
}
