import Synchronization

/// Something to run on the loop.
///
/// Proof of `@unchecked Sendable`: it crosses threads in the mailbox only, and what is posted there are `@Sendable` closures
/// and jobs; a loop's own work stays on its thread.
enum WorkItem: @unchecked Sendable {
    case work(() -> Void)
    case job(UnownedJob)
}

/// Work from other threads.
final class Mailbox: Sendable {
    private let items = Mutex<[WorkItem]>([])
    /// Whether the loop was woken and has not looked since: any number of posts in between cost one wake-up.
    private let notified = Atomic<Bool>(false)

    /// Returns whether the loop has to be woken. Thread-safe.
    func post(_ item: WorkItem) -> Bool {
        items.withLock { $0.append(item) }
        return !notified.exchange(true, ordering: .acquiringAndReleasing)
    }

    /// Moves everything that was posted behind `queue`. The flag falls before the queue is read: a post that comes after the
    /// reading wakes the loop again, so none is lost.
    func drain(into queue: inout [WorkItem]) {
        guard notified.load(ordering: .relaxed) else { return }
        _ = notified.exchange(false, ordering: .acquiringAndReleasing)
        let taken = items.withLock { items in
            let taken = items
            items = []
            return taken
        }
        if queue.isEmpty { queue = taken } else { queue.append(contentsOf: taken) }
    }

    var hasMail: Bool { notified.load(ordering: .relaxed) }

    /// Posts that wait. Thread-safe.
    var count: Int { items.withLock { $0.count } }
}
