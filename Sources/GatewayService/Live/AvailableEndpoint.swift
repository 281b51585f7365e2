import Bytes
import HTTPServer
import Reactor
import WebSocketServer
import WebSockets

/// `/ws/drivers/available` on one loop: each different area is a topic, fed by the feed's lists; a subscriber is a number
/// and an interval.
final class AvailableEndpoint: WebSocketHandler {
    private struct Shown {
        let query: AreaQuery
        let topic: TopicID
        var subscribers = 0
    }

    private struct View {
        var shown: UInt64
        var interval: Int
    }

    private let sockets: WebSocketServer
    private let link: FeedLink
    private let defaultInterval: Int
    private var shown: [UInt64: Shown] = [:]
    private var numbers: [AreaQuery: UInt64] = [:]
    private var nextNumber: UInt64 = 1
    /// By the number that a WebSocket has as its context.
    private var views: [View?] = []
    private var freeViews: [Int] = []
    /// Subscribers by interval.
    private var intervals: [Int: Int] = [:]
    private var shortest: Int?
    private var snapshot = LiveSnapshot()

    /// - Parameter interval: milliseconds between two lists, unless a subscriber asks for another one.
    init(sockets: WebSocketServer, link: FeedLink, interval: Int) {
        self.sockets = sockets
        self.link = link
        defaultInterval = interval
        super.init()
        link.onUpdate = { [unowned self] in take($0) }
    }

    /// A WebSocket whose 101 is on its way subscribes.
    func open(_ id: WebSocketID, _ query: AreaQuery, interval: Int?) {
        let view = View(shown: 0, interval: interval ?? defaultInterval)
        let place = freeViews.popLast() ?? views.count
        if place == views.count { views.append(view) } else { views[place] = view }
        sockets.adopt(id, handler: self, context: UInt32(place))
        // Draining may have closed it at once.
        guard sockets.isOpen(id) else { return }
        count(view.interval, +1)
        show(id, place, query)
    }

    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
        let message: LiveMessage
        do throws(Problem) {
            message = try LiveMessage(text)
        } catch {
            sockets.sendError(id, error)
            sockets.countBadMessage(id)
            return
        }
        switch message {
        case .ping:
            var buffer = ByteBuffer()
            buffer.appendPong(snapshot)
            sockets.sendText(id, buffer.span)
        case .view(let query, let interval):
            let place = Int(sockets.context(id))
            guard let view = views[place] else { return }
            if let interval, interval != view.interval {
                count(view.interval, -1)
                count(interval, +1)
                views[place]?.interval = interval
            }
            // In this order: an area that stays the same is not left in between.
            show(id, place, query)
            hide(view.shown)
        }
    }

    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {
        let place = Int(sockets.context(id))
        guard let view = views[place] else { return }
        views[place] = nil
        freeViews.append(place)
        guard view.shown != 0 else { return }
        count(view.interval, -1)
        hide(view.shown)
    }

    // MARK: Areas

    /// The list of `query` from now on, the current one at once.
    private func show(_ id: WebSocketID, _ place: Int, _ query: AreaQuery) {
        let number: UInt64
        if let known = numbers[query] {
            number = known
        } else {
            number = nextNumber
            nextNumber += 1
            numbers[query] = number
            shown[number] = Shown(query: query, topic: sockets.topics.makeTopic())
        }
        guard let topic = shown[number]?.topic else { return }
        let isNew = shown[number]?.subscribers == 0
        shown[number]?.subscribers += 1
        views[place]?.shown = number
        sockets.topics.subscribe(id, to: topic, interval: views[place]?.interval ?? defaultInterval)
        if isNew { link.subscribe(number, query) }
    }

    private func hide(_ number: UInt64) {
        shown[number]?.subscribers -= 1
        guard let gone = shown[number], gone.subscribers == 0 else { return }
        link.unsubscribe(number, gone.query)
        sockets.topics.removeTopic(gone.topic)
        numbers[gone.query] = nil
        shown[number] = nil
    }

    private func take(_ update: LiveUpdate) {
        snapshot = update.snapshot
        for (number, frame) in update.lists {
            guard let topic = shown[number]?.topic else { continue }
            sockets.topics.publish(topic, frame, cause: update.cause)
        }
    }

    /// Counts subscribers by interval and tells the feed the shortest one.
    private func count(_ interval: Int, _ change: Int) {
        intervals[interval, default: 0] += change
        if intervals[interval] == 0 { intervals[interval] = nil }
        let shortest = intervals.keys.min()
        guard shortest != self.shortest else { return }
        self.shortest = shortest
        link.setInterval(shortest)
    }
}

extension WebSocketServer {
    /// Sends an error frame.
    func sendError(_ id: WebSocketID, _ problem: Problem, requestID: String = "") {
        var buffer = ByteBuffer()
        buffer.appendError(problem, requestID: requestID)
        sendText(id, buffer.span)
    }

    /// Says what is wrong with the request, then closes: browsers hide the body of a refused handshake.
    func refuse(_ id: WebSocketID, _ problem: Problem, requestID: String = "", _ code: CloseCode = .badRequest) {
        sendError(id, problem, requestID: requestID)
        close(id, code, reason: problem.code)
    }
}
