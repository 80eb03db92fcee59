import TestSupport

/// What a history's network, machines and engines do next: drawn from a seed in a large installation, or planned point by point in a small one.
struct Fate {
    /// How bad things are, drawn from the seed.
    struct Weather {
        var brokers = 1
        var workers = 1
        var tasks = 2
        /// Of a thousand messages, so many are lost, doubled, or late.
        var loss = 0
        var doubling = 0
        var lateness = 0
        /// How late, in milliseconds, at most.
        var longestDelay: Int64 = 3_000
        /// Of a thousand statements, so many do not reach the store, or are executed and their answers lost.
        var unknown = 0
        /// How many processes die, drain or stand still, and how often the database or one broker's way to it is away.
        var troubles = 0
        /// For so long all is well at first, and the client asks for everything at once: what happens then befalls tasks, not their publishing.
        var calmStart: Int64 = 0
        /// Tasks published in SQL.
        var published = 0
        /// Of a thousand attempts that come to their end, so many fail; of a thousand turns of the client, so many cancel a task.
        var failures = 0
        var cancels = 0
        /// Workers take a while to load a model, and give tasks back meanwhile: so many of a thousand.
        var snoozes: Int?
        /// Beats in which a worker's counter stands still until it is taken for dead. No promise rests on their number: fewer mean more workers that
        /// come back with leases that are not theirs any more.
        var beatsUntilDead = 5
        /// Of a thousand tasks that an engine begins with, so many cannot be prepared for a fault of its machine.
        var machineFaults = 0
    }

    /// Messages that are lost have no arrival, doubled ones two.
    struct Arrivals {
        var first: Int64?
        var second: Int64?
    }

    var random: SeededGenerator
    private(set) var weather: Weather
    private let plan: [PlannedMishap]?
    private var nextPlanned = 0
    /// The points that were passed, where a plan is followed.
    private(set) var points: [Point] = []
    /// From then on things go wrong …
    let troubleFrom: Int64
    /// … until then; afterwards all is calm, and everything must come to an end.
    private(set) var troubleUntil: Int64

    /// A small installation, where nothing goes wrong but what is planned.
    /// - Parameter plan: by rising point.
    init(plan: [PlannedMishap], brokers: Int, workers: Int, tasks: Int) {
        random = SeededGenerator(seed: 1)
        weather = Weather(brokers: brokers, workers: workers, tasks: tasks)
        self.plan = plan
        troubleFrom = 0
        troubleUntil = 0
    }

    /// A large installation before bad weather.
    init(seed: UInt64, start: Int64) {
        random = SeededGenerator(seed: seed)
        plan = nil
        var weather = Weather()
        weather.brokers = random.pick([1, 2, 2, 3])
        weather.workers = random.pick([1, 2, 3])
        weather.tasks = random.pick([1, 1, 2, 4])
        weather.cancels = random.pick([20, 40, 200])
        weather.snoozes = random.pick([nil, nil, 50, 300])
        weather.beatsUntilDead = random.pick([3, 3, 5])
        weather.calmStart = random.pick([0, 1_500, 1_500, 2_500, 2_500, 2_500])
        self.weather = weather
        troubleFrom = start + weather.calmStart
        troubleUntil = troubleFrom + 2_000 + Int64(random.below(6_000))
    }

    /// The weather comes, and whatever else is drawn from now on.
    mutating func turn(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        weather.loss = random.pick([0, 5, 30, 100])
        weather.doubling = random.pick([0, 20, 100])
        weather.lateness = random.pick([0, 20, 100])
        weather.longestDelay = Int64(random.pick([50, 400, 3_000, 12_000]))
        weather.unknown = random.pick([0, 10, 50, 200])
        weather.failures = random.pick([0, 60, 300])
        weather.troubles = random.below(6)
        weather.published = random.chance(300) ? 1 : 0
        weather.machineFaults = random.pick([0, 0, 20, 200])
    }

    /// Whether messages and statements go astray, and machines and engines fail.
    func isTroubled(_ now: Int64) -> Bool { now >= troubleFrom && now < troubleUntil }

    var isPlanned: Bool { plan != nil }

    /// A length of time or the like: the middle of its range where all is planned.
    mutating func number(_ bound: Int64) -> Int64 { isPlanned ? bound / 2 : Int64(random.next() % UInt64(max(1, bound))) }

    /// Whether something that happens so often in a thousand happens; never where all is planned.
    mutating func happens(_ permille: Int) -> Bool { !isPlanned && random.chance(permille) }

    /// Passes a point.
    /// - Returns: what is planned to go wrong there.
    mutating func pass(_ point: Point) -> Mishap? {
        guard let plan else { return nil }
        points.append(point)
        guard nextPlanned < plan.count, plan[nextPlanned].point == points.count - 1 else { return nil }
        nextPlanned += 1
        return plan[nextPlanned - 1].mishap
    }

    /// How long anything sent at this time is under way.
    mutating func delay(_ now: Int64) -> Int64 {
        if isPlanned { return 2 }
        guard isTroubled(now) else { return 1 + number(5) }
        return happens(weather.lateness) ? 1 + number(weather.longestDelay) : 1 + number(20)
    }

    /// How many steps an engine takes for a task, from where it stands now on, and how long the next one takes. Once all is calm only what came
    /// before is still of interest, and they are quick.
    mutating func work(_ now: Int64) -> (steps: Int, next: Int64) {
        if isPlanned { return (4, 370) }
        return now < troubleUntil ? (1 + Int(number(6)), 20 + number(700)) : (1 + Int(number(2)), 20 + number(100))
    }

    /// How long a worker takes to load a model, and whether it gives the task back instead of keeping it; nil where models are there.
    mutating func load(_ now: Int64) -> (time: Int64, snoozes: Bool)? {
        guard let snoozes = weather.snoozes else { return nil }
        return (number(now < troubleUntil ? 3_000 : 500), now < troubleUntil && happens(snoozes))
    }

    /// How often, and when, a message sent at this time arrives.
    mutating func arrivals(_ now: Int64, _ mishap: Mishap?) -> Arrivals {
        switch mishap {
        case .lost: return Arrivals()
        case .doubled: return Arrivals(first: now + 2, second: now + 40)
        case .replayed:
            delayEnd(now + Mishap.longDelay)
            return Arrivals(first: now + 2, second: now + Mishap.longDelay)
        case .late: return Arrivals(first: now + Mishap.shortDelay)
        case .veryLate:
            delayEnd(now + Mishap.longDelay)
            return Arrivals(first: now + Mishap.longDelay)
        default: break
        }
        if !isTroubled(now) { return Arrivals(first: now + delay(now)) }
        if happens(weather.loss) { return Arrivals() }
        return Arrivals(first: now + delay(now), second: happens(weather.doubling) ? now + delay(now) : nil)
    }

    /// The history is not over before this time.
    mutating func delayEnd(_ time: Int64) { troubleUntil = max(troubleUntil, time) }
}

extension SeededGenerator {
    mutating func pick<Element>(_ values: [Element]) -> Element { values[below(values.count)] }
}
