import Encodings
import TaskProtocol
import Testing

@Suite("Queues and schedules over ZeroMQ") struct AdministrationTests {
    private func operation(_ members: String) -> Result<Operation, ContractError> { Request.decode(Array("{\(members)}".utf8)).operation }

    private static let params = #"{"model":"demo","prompt":"x"}"#

    @Test("requests are read, what is not given stays nil") func reading() {
        #expect(operation(#""op":"queues""#) == .success(.administer(.queues)))
        #expect(operation(#""op":"schedules""#) == .success(.administer(.schedules)))
        #expect(operation(#""op":"unschedule","name":"s""#) == .success(.administer(.removeSchedule(name: "s"))))
        #expect(
            operation(#""op":"queue","queue":{"name":"q","paused":true,"max_running":3}"#)
                == .success(.administer(.setQueue(QueueChange(name: "q", paused: true, maxRunning: 3)))))
        #expect(
            operation(#""op":"queue","queue":{"name":"q","unlimited":true,"max_running":null}"#)
                == .success(.administer(.setQueue(QueueChange(name: "q", unlimited: true)))))
        #expect(
            operation(#""op":"schedule","schedule":{"name":"s","enabled":false}"#)
                == .success(.administer(.setSchedule(ScheduleChange(name: "s", enabled: false)))))
    }

    @Test("a schedule's task is kept as submitted, its further members apart") func schedule() throws {
        let text =
            #""op":"schedule","schedule":{"name":"s","cron":"@daily","kind":"generate","params":\#(Self.params),"queue":"q","misfire":"all","priority":7,"tags":{"a":"b"}}"#
        guard case .success(.administer(.setSchedule(let change))) = operation(text) else {
            Issue.record("refused: \(operation(text))")
            return
        }
        #expect(change.cron == "@daily" && change.kind == .generate && change.queue == "q" && change.misfire == .all && change.enabled == nil)
        #expect(change.params.map { String(decoding: $0, as: UTF8.self) } == Self.params)
        #expect(try JSONValue.parse(try #require(change.options)) == ["priority": 7, "tags": ["a": "b"]])
    }

    @Test(
        "what is wrong is named by its path",
        arguments: [
            (#""op":"queue""#, "queue"), (#""op":"queue","queue":{}"#, "queue.name"), (#""op":"queue","queue":{"name":"no blanks"}"#, "queue.name"),
            (#""op":"queue","queue":{"name":"q","max_running":-1}"#, "queue.max_running"),
            (#""op":"queue","queue":{"name":"q","limit":1}"#, "queue.limit"),
            (#""op":"queue","queue":{"name":"q","max_running":1,"unlimited":true}"#, "queue.unlimited"), (#""op":"queues","all":true"#, "all"),
            (#""op":"schedule","schedule":{"name":"s","cron":"61 * * * *"}"#, "schedule.cron"),
            (#""op":"schedule","schedule":{"name":"s","misfire":"never"}"#, "schedule.misfire"),
            (#""op":"schedule","schedule":{"name":"s","params":{"model":"demo"}}"#, "schedule.kind"),
            (#""op":"schedule","schedule":{"name":"s","kind":"generate","params":{"model":"demo","top_p":2}}"#, "schedule.params.top_p"),
            (#""op":"schedule","schedule":{"name":"s","priority":101}"#, "schedule.priority"),
            (#""op":"schedule","schedule":{"name":"s","key":"k"}"#, "schedule.key"), (#""op":"unschedule""#, "name"),
        ]) func faults(_ members: String, _ field: String)
    {
        guard case .failure(let error) = operation(members) else {
            Issue.record("accepted: \(members)")
            return
        }
        #expect(error.field == field)
    }

    @Test("rows are written with the contract's names") func writing() throws {
        func reply(_ reply: AdministrationReply) throws -> JSONValue {
            try JSONValue.parse(Reply.administered(reply).encode(re: .integer(1), as: .json))
        }
        let queue = try reply(.queues([QueueRow(name: "q", paused: false, maxRunning: nil, depth: 4, running: 2)]))
        #expect(queue["queues"]?.arrayValue == [["name": "q", "paused": false, "max_running": nil, "depth": 4, "running": 2]])
        let row = ScheduleRow(
            name: "s", cron: "@daily", kind: "generate", params: Array(Self.params.utf8), queue: "default", enabled: true, misfire: "one",
            options: Array("{}".utf8), lastRunAt: nil, nextRunAt: 0)
        let schedule = try reply(.schedule(row))["schedule"]
        #expect(schedule?["next_run_at"]?.stringValue == "1970-01-01T00:00:00.000Z" && schedule?["last_run_at"] == JSONValue.null)
        #expect(schedule?["params"]?["model"]?.stringValue == "demo")
        #expect(try reply(.done) == ["re": 1, "ok": true])
    }
}
