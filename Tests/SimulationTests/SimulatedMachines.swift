import Broker
import TaskProtocol
import Worker

extension SimulatedWorld {
    final class SimulatedBroker {
        /// Of no meaning while ``isUp`` is false. Behind a pointer, as asking a class's member for one of its own copies all of it.
        let core: UnsafeMutablePointer<BrokerCore>
        var id: BrokerID { core.pointee.id }
        var isUp = false
        /// Counts starts; what was meant for an earlier process is lost.
        var epoch = 0
        var nextTick = Int64.max
        /// Its monotonic clock is not ours.
        var clockOffset: Int64 = 0
        var standsUntil: Int64 = 0
        var cutOffUntil: Int64 = 0
        /// What it is subscribed to at which brokers.
        var links: [BrokerID: [[UInt8]]] = [:]
        /// What it told the others last, and what they read of it.
        var lastSaid: (topic: [UInt8], payload: [UInt8], message: PeerMessage)?

        init() {
            core = .allocate(capacity: 1)
            core.initialize(to: BrokerCore(id: BrokerID(hi: 0, lo: 0)))
        }

        init(copying other: SimulatedBroker) {
            core = .allocate(capacity: 1)
            core.initialize(to: other.core.pointee)
            (isUp, epoch, nextTick, clockOffset) = (other.isUp, other.epoch, other.nextTick, other.clockOffset)
            (standsUntil, cutOffUntil, links) = (other.standsUntil, other.cutOffUntil, other.links)
            lastSaid = other.lastSaid
        }

        deinit {
            core.deinitialize(count: 1)
            core.deallocate()
        }
    }

    final class SimulatedWorker {
        /// Of no meaning while ``isUp`` is false; behind a pointer as a broker's.
        let core: UnsafeMutablePointer<WorkerCore>
        var isUp = false
        var epoch = 0
        var clockOffset: Int64 = 0
        var standsUntil: Int64 = 0
        var engine = SimulatedEngine()
        var link: (id: LinkID, broker: Int, address: [UInt8])?

        init() {
            let registration = SimulatedWorld.registration(0, session: SessionID(hi: 0, lo: 0), slots: 1)
            core = .allocate(capacity: 1)
            core.initialize(to: WorkerCore(WorkerCore.Settings(registration: registration, brokers: ["0"])))
        }

        init(copying other: SimulatedWorker) {
            core = .allocate(capacity: 1)
            core.initialize(to: other.core.pointee)
            (isUp, epoch, clockOffset, standsUntil) = (other.isUp, other.epoch, other.clockOffset, other.standsUntil)
            (engine, link) = (other.engine, other.link)
        }

        deinit {
            core.deinitialize(count: 1)
            core.deallocate()
        }
    }
}
