import Basics
import HTTP1

/// Every bound of the HTTP server, in one place.
public struct HTTPLimits: Sendable {
    /// The bounds of the engine: head, target, fields, chunk framing.
    public var http1 = HTTP1Limits()
    /// Bytes of a body that a route takes unless it says otherwise. More is 413.
    public var bodyBytes = 64 * 1024
    /// Bytes of an unwanted body (of a request that was refused) that are read over to keep the connection.
    public var discardedBodyBytes = 64 * 1024
    /// Requests of one connection that may be unanswered; beyond, reading pauses.
    public var pipelineDepth = 16
    /// Requests of one connection that are looked at in one turn: a read of 64 KiB holds 2,000 of them, and everybody else waits
    /// while their handlers work.
    public var requestsPerTurn = 64
    /// Bytes of answers that may wait on one connection, for their turn or for the client to take them, before its next
    /// request is looked at.
    public var outputHighWater = 256 * 1024
    /// Bytes of answers that may wait on one connection when another answer is given: that one becomes 503, and the last. Up to
    /// `pipelineDepth` requests may have been handed out before their answers' size is known; a mebibyte is several lists.
    public var heldAnswers = 1 << 20
    /// How long a function that writes a body piece by piece (`HTTPResponder.stream`) may keep a client waiting for the next
    /// piece. Reason: shorter than what balancers in front and clients wait for, so that it is this end that says so.
    @Nanoseconds public var streamSilence: Duration = .seconds(50)
    /// From a head's first byte to its last. Not renewed by further bytes: that is what stops a drip.
    @Nanoseconds public var headTime: Duration = .seconds(10)
    /// What a body may take before `bodyRate` counts.
    @Nanoseconds public var bodyGrace: Duration = .seconds(5)
    /// Bytes per second that a body must bring after the grace.
    public var bodyRate = 16 * 1024
    /// How long a connection may be quiet between requests. Longer than the balancers in front, whose default is 60 s: what
    /// they send on a connection that this end closes at the same moment is lost.
    @Nanoseconds public var idleTime: Duration = .seconds(75)

    /// The defaults.
    public init() {}
}
