/// How long history is kept. Whole months go, once they ended so long ago; nil keeps everything.
package struct RetentionPolicy: Sendable, Equatable {
    /// Tasks with their keys, attempts and training steps, by the time they were accepted.
    package var tasksSeconds: Int64?
    /// Texts, by the time they were recorded.
    package var generationsSeconds: Int64?

    package init(tasksSeconds: Int64? = nil, generationsSeconds: Int64? = nil) {
        self.tasksSeconds = tasksSeconds
        self.generationsSeconds = generationsSeconds
    }
}

/// What is dropped month by month.
package enum History: String, Sendable, CaseIterable { case tasks, generations }

/// A month of history.
package struct HistoryMonth: Sendable, Hashable, CustomStringConvertible {
    package var history: History
    /// Its first day, as `2026-01-01`.
    package var firstDay: String

    package init(history: History, firstDay: String) {
        self.history = history
        self.firstDay = firstDay
    }

    /// As `tasks of 2026-01`.
    package var description: String { "\(history) of \(firstDay.prefix(7))" }
}

/// A month that is over for long enough, and what keeps it from being dropped.
package struct HeldMonth: Sendable, Hashable {
    package var month: HistoryMonth
    /// The task of that month (of texts: whose texts are of that month).
    package var task: TaskID
    /// `queued` or `running`, where the task itself is that.
    package var state: String?
    /// The waiting or running task that names it in its `after`, otherwise.
    package var child: TaskID?

    package init(month: HistoryMonth, task: TaskID, state: String?, child: TaskID?) {
        self.month = month
        self.task = task
        self.state = state
        self.child = child
    }

    /// What holds it, as a sentence without its end.
    package var reason: String {
        if let child { return "the after of the unfinished task \(child) names its task \(task)" }
        return "its task \(task) is \(state ?? "unfinished")"
    }
}

/// A month that is over for long enough and that the database refuses to drop: an operator's own view stands on it, say.
package struct RefusedMonth: Sendable, Hashable {
    package var month: HistoryMonth
    /// The database's reason, without values of rows.
    package var reason: String

    package init(month: HistoryMonth, reason: String) {
        self.month = month
        self.reason = reason
    }
}

/// What a look at the months of history brought about.
package struct RetentionReply: Sendable, Equatable {
    /// Whether this broker looked at what is to be dropped; not, where another does or just did.
    package var looked = false
    /// Months that are gone now.
    package var dropped: [HistoryMonth] = []
    /// Months that a task holds back.
    package var held: [HeldMonth] = []
    /// A month that somebody reads at the moment, or that a task came to hold just now: the look ended with it.
    package var busy: [HistoryMonth] = []
    /// Months that the database refused to drop; the others went all the same.
    package var refused: [RefusedMonth] = []
    /// Keys of dropped tasks are left: there were too many for one request.
    package var hasMore = false

    package init() {}
}
