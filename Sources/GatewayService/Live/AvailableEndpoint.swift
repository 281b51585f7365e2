import Bytes
import HTTPServer
import Reactor
import RideDomain
import WebSocketServer
import WebSockets

/// `/ws/drivers/available` on one loop: each different area is a view of this loop's lists and a topic of its lists; a subscriber is a
/// number and an interval.
final class AvailableEndpoint: WebSocketHandler {
    /// What a WebSocket looks at.
    private struct Viewer {
        /// The view's number; 0: it was refused, or was closed before it had one.
        var view: UInt64
        var interval: Int
        var sent = SentMessages()
    }

    private let loop: EventLoop
    private let sockets: WebSocketServer
    private let lists: LoopLists
    private let defaultInterval: Int
    private let messages: MessageLimit?
    /// By the view's number.
    private var topics: [UInt64: TopicID] = [:]
    /// By the number that a WebSocket has as its context.
    private var viewers: [Viewer?] = []
    private var freeViewers: [Int] = []

    /// Takes messages that renew a token; nil: nobody is asked who they are.
    var tokens: TokenRenewal?

    /// - Parameter interval: milliseconds between two lists, unless a subscriber asks for another one.
    init(
        sockets: WebSocketServer, link: FeedLink, interval: Int, limits: FeedLimits = .init(),
        messages: MessageLimit? = nil
    ) {
        loop = link.loop
        self.sockets = sockets
        defaultInterval = interval
        self.messages = messages
        lists = LoopLists(loop: link.loop, limits: limits) { [unowned link] in link.ask($0) }
        super.init()
        link.onUpdate = { [unowned self] in lists.take($0) }
        lists.onList = { [unowned self] number, frame, cause in
            sockets.topics.publish(topic(of: number), frame, cause: cause)
        }
        lists.onGone = { [unowned self] number in
            if let topic = topics.removeValue(forKey: number) { sockets.topics.removeTopic(topic) }
        }
    }

    /// A WebSocket whose 101 is on its way subscribes.
    func open(_ id: WebSocketID, _ query: AreaQuery, interval: Int?, requestID: String) {
        // Who has gone already is never told to have closed.
        guard loop.isOpen(id) else { return }
        let interval = interval ?? defaultInterval
        let place = freeViewers.popLast() ?? viewers.count
        if place == viewers.count { viewers.append(nil) }
        viewers[place] = Viewer(view: 0, interval: interval)
        sockets.adopt(id, handler: self, context: UInt32(place))
        // Draining may have closed it at once.
        guard sockets.isOpen(id) else { return }
        do throws(LiveRefusal) {
            let view = try lists.add(query, interval: interval)
            viewers[place]?.view = view
            sockets.topics.subscribe(id, to: topic(of: view), interval: interval)
        } catch {
            sockets.refuse(id, Problem(error), requestID: requestID, .tryAgainLater)
        }
    }

    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
        if tokens?.take(id, text) == true { return }
        // Reading it, and being shown another area: far more than what the server counts for a message.
        loop.charge(16)
        let place = Int(sockets.context(id))
        if let messages {
            let verdict = viewers[place]?.sent.take(messages.rule, now: loop.now)
            guard messages.admits(id, verdict) else { return }
        }
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
            buffer.appendPong(lists.snapshot)
            sockets.sendText(id, buffer.span)
        case .view(let query, let interval):
            guard let old = viewers[place], old.view != 0 else { return }
            let interval = interval ?? old.interval
            do throws(LiveRefusal) {
                // In this order: an area that stays the same is not left in between.
                let view = try lists.add(query, interval: interval)
                viewers[place]?.view = view
                viewers[place]?.interval = interval
                sockets.topics.subscribe(id, to: topic(of: view), interval: interval)
                lists.remove(old.view, interval: old.interval)
            } catch {
                // It goes on with what it looks at.
                sockets.sendError(id, Problem(error))
            }
        }
    }

    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {
        let place = Int(sockets.context(id))
        guard let gone = viewers[place] else { return }
        viewers[place] = nil
        freeViewers.append(place)
        if gone.view != 0 { lists.remove(gone.view, interval: gone.interval) }
    }

    /// The topic of a view's lists. It may be wanted by the first list before the first subscriber.
    private func topic(of view: UInt64) -> TopicID {
        if let known = topics[view] { return known }
        let topic = sockets.topics.makeTopic()
        topics[view] = topic
        return topic
    }
}

extension Problem {
    /// What a viewer hears whose view there is no room for.
    init(_ refusal: LiveRefusal) {
        let reason =
            switch refusal {
            case .tooManyViews: "as many different areas are looked at as it can show"
            case .tooManyBytes: "the lists that are looked at fill the memory that is meant for them"
            }
        self.init(
            503, "too-many-views", "This gateway has no room for another area: \(reason). Try again in a moment.")
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
