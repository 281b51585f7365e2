import Reactor
import RideAPI

/// One loop's end of the feed: what it asks goes to the home loop, what the feed says comes back, by mailbox unless both
/// live on the same loop.
final class FeedLink {
    let loop: EventLoop
    private let home: LoopBound<DriverFeed>
    private let index: Int
    var onUpdate: (LiveUpdate) -> Void = { _ in }
    var onLocation: (DriverLocationUpdate) -> Void = { _ in }

    private init(loop: EventLoop, home: LoopBound<DriverFeed>, index: Int) {
        self.loop = loop
        self.home = home
        self.index = index
    }

    /// Links `loop` to the feed; to be called on the feed's loop, for every loop before it runs. The links are given to
    /// their loops by the caller.
    static func links(_ feed: DriverFeed, loops: [EventLoop]) -> [LoopBound<FeedLink>] {
        let home = LoopBound(feed, loop: feed.loop)
        return loops.map { loop in
            let mailbox = Mailbox(loop: loop, home: feed.loop)
            let link = FeedLink(loop: loop, home: home, index: feed.add(mailbox))
            let bound = LoopBound(link, loop: loop)
            mailbox.link = bound
            return bound
        }
    }

    /// Asks for units, in this order.
    func ask(_ requests: [FeedRequest]) {
        atHome { [index] feed in feed.take(requests, from: index) }
    }

    /// `onLocation` gets every record about this driver.
    func follow(_ driver: String) {
        atHome { [index] feed in feed.follow(driver, index) }
    }

    func unfollow(_ driver: String) {
        atHome { [index] feed in feed.unfollow(driver, index) }
    }

    private func atHome(_ work: @escaping @Sendable (DriverFeed) -> Void) {
        // Also from the home loop itself: an answer never comes inside the question.
        home.loop.submit { [home] in work(home.value) }
    }

    /// What the feed holds of a link.
    ///
    /// Proof of `@unchecked Sendable`: `link` is set once, before the feed knows of it, and read on the feed's loop only.
    private final class Mailbox: FeedListener, @unchecked Sendable {
        private let loop: EventLoop
        private let isSameLoop: Bool
        var link: LoopBound<FeedLink>?

        init(loop: EventLoop, home: EventLoop) {
            self.loop = loop
            isSameLoop = loop === home
        }

        func deliver(_ update: LiveUpdate) {
            guard let link else { return }
            if isSameLoop { return link.value.onUpdate(update) }
            loop.submit { link.value.onUpdate(update) }
        }

        func deliver(_ update: DriverLocationUpdate) {
            guard let link else { return }
            if isSameLoop { return link.value.onLocation(update) }
            loop.submit { link.value.onLocation(update) }
        }
    }
}
