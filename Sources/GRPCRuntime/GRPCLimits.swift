import Basics

/// Every limit of gRPC on one connection or call of a server, with the need or the attack that it answers. The limits of HTTP/2
/// below it are in `HTTP2Limits`.
public struct GRPCLimits: Sendable {
    // MARK: Memory

    /// A larger message, in either direction, ends the call with RESOURCE_EXHAUSTED. Bytes; the default of every gRPC.
    public var maximumMessageSize = 4 << 20
    /// What one connection's calls may keep of what it sent: bodies that are not whole or that a paused handler has not
    /// taken, and metadata. The call that wants more ends with RESOURCE_EXHAUSTED: four of the largest messages at once, where
    /// MAX_CONCURRENT_STREAMS alone would allow 16 GiB. Bytes.
    public var maximumHeldBytes = 16 << 20
    /// What a call may hold that was sent and has not left: behind it a slow reader's call is ended with
    /// RESOURCE_EXHAUSTED. Bytes.
    public var maximumQueuedBytes = 8 << 20
    /// The same for all calls of a connection: a client that opens a thousand streams and no window gets no more than
    /// one that opens two. Bytes.
    public var maximumConnectionQueuedBytes = 16 << 20
    /// `isWritable` turns false above this, and a call whose answers wait takes no more questions. Bytes.
    public var writableBelow = 64 << 10

    // MARK: Time

    /// A client that has not sent the preface and its SETTINGS by then is closed.
    @Nanoseconds public var prefaceTimeout: Duration = .seconds(10)
    /// A frame, at most 16 KiB, or a header block that has begun must be whole by then, and our SETTINGS acknowledged; else the
    /// connection is closed.
    @Nanoseconds public var frameTimeout: Duration = .seconds(20)
    /// A request's message that has begun must be whole in this time, and in what its bytes earn at `minimumRate`; else
    /// the call ends with DEADLINE_EXCEEDED.
    @Nanoseconds public var requestTimeout: Duration = .seconds(30)
    /// A client that takes less than `minimumRate` of a finished answer, which waits for a window, during this time is not
    /// reading: the call is reset. (The loop closes a connection whose socket is full.)
    @Nanoseconds public var outputTimeout: Duration = .seconds(30)
    /// The same for a stream that goes on: its reader may have paused for a reason, and it holds little.
    @Nanoseconds public var pausedStreamTimeout: Duration = .seconds(300)
    /// A client that was silent for so long is sent a PING: what has died without a FIN must not stay for hours.
    @Nanoseconds public var keepaliveInterval: Duration = .seconds(60)
    /// A PING that is not answered for so long closes the connection.
    @Nanoseconds public var keepaliveTimeout: Duration = .seconds(20)
    /// A client that pings more often than this (gRPC's default is five minutes) …
    @Nanoseconds public var minimumPingInterval: Duration = .seconds(300)
    /// … so many times is sent GOAWAY ENHANCE_YOUR_CALM "too_many_pings".
    public var maximumPingStrikes = 2
    /// A handler that can't hear of a call's end and has not answered so long after its deadline never will: the call counts no
    /// more against MAX_CONCURRENT_STREAMS.
    @Nanoseconds public var handlerTimeout: Duration = .seconds(300)
    /// A connection that is older is ended in order, so that clients spread anew over the servers behind a name: GOAWAY, and the calls in
    /// flight get `drainTimeout`. Each lives a tenth longer or shorter, so that those who came together do not come back together. Nil: never.
    public var maximumConnectionAge: Duration?
    /// Between the first GOAWAY of a drain and the second, unless the PING between them is answered sooner.
    @Nanoseconds public var drainGrace: Duration = .seconds(1)
    /// After the second GOAWAY calls in flight may take so long; then they are cancelled and the connection closes. Longer
    /// than any program here waits for its drain.
    @Nanoseconds public var drainTimeout: Duration = .seconds(300)
    /// Bytes a second below which a client makes no progress: a phone on the edge of the net has ten times as much.
    static let minimumRate = 1024
    /// How often a connection that owes something is looked at. Nanoseconds.
    static let checkInterval: UInt64 = 5 * 1_000_000_000

    // MARK: Work

    /// Events (HEADERS, DATA …) of one connection that are handled in one read: 256 unary calls of two events, a
    /// millisecond or two. What is left over waits for the next turn, in which others are read too.
    public var maximumEventsPerRead = 512
    /// Events of all connections in one turn; each connection gets `minimumEventsPerRead` at least.
    public var maximumEventsPerTurn = 2048
    static let minimumEventsPerRead = 8
    /// Bytes of compressed messages that all calls of a server, or of a channel, may read and write in one turn to inflate them: 1 ms or so.
    static let inflationPerTurn = 512 << 10
    /// Calls that are ended, connections that are drained or closed in one turn of what is done for thousands.
    static let workPerTurn = 256

    // MARK: What goes out because of what came in

    /// Bytes of a `grpc-message`, percent-encoded: what is longer is cut. A message is for people, and much of it may be what
    /// the client itself sent.
    static let maximumStatusMessage = 1024
    /// Bytes of a call's trailers and error details, encoded: beyond, they are left out and the message says so. Most
    /// clients take 8 KiB of header fields in all.
    static let maximumTrailers = 8192 - maximumStatusMessage
    /// Bytes of a client's own words (a path, a name, an encoding) that an answer repeats.
    static let maximumQuote = 128
    /// Bytes of the name of a service that may be watched: it is kept as long as the watch.
    static let maximumServiceName = 256
    /// Bytes of a request of server reflection: its answer repeats it, as the protocol wants it.
    static let maximumReflectionRequest = 1024
    /// Values that one `-bin` field may have, joined by commas.
    static let maximumJoinedValues = 64

    /// The defaults.
    public init() {}
}

/// How a channel behaves.
public struct ChannelOptions: Sendable {
    /// Largest message in either direction, in bytes.
    public var maximumMessageSize = 4 << 20
    /// A connection attempt that takes longer has failed.
    @Nanoseconds public var connectTimeout: Duration = .seconds(20)
    /// Wait after the first failed attempt, ± `backoffJitter`. (gRPC's connection backoff protocol.)
    @Nanoseconds public var initialBackoff: Duration = .seconds(1)
    /// By how much each wait is longer than the last.
    public var backoffMultiplier = 1.6
    /// The part of a wait, up or down, that is chance, so that clients do not come back together.
    public var backoffJitter = 0.2
    /// The wait grows to this.
    @Nanoseconds public var maximumBackoff: Duration = .seconds(120)
    /// Calls that wait for a connection or for one of the peer's MAX_CONCURRENT_STREAMS; one more fails with
    /// RESOURCE_EXHAUSTED.
    public var maximumQueuedCalls = 10_000
    /// Connections to one address: when the server's MAX_CONCURRENT_STREAMS is reached on each, a further one is made for the calls
    /// that wait (gRFC A105). By default there is one, and they wait.
    public var maximumConnectionsPerAddress = 1
    /// How often a call that the server certainly did not process is sent again.
    public var maximumTransparentRetries = 5
    /// With calls open and nothing read for so long, a PING is sent.
    @Nanoseconds public var keepaliveInterval: Duration = .seconds(300)
    /// A PING that is not answered for so long closes the connection.
    @Nanoseconds public var keepaliveTimeout: Duration = .seconds(20)
    /// A connection without calls is kept alive, too: for a way on which quiet connections are forgotten. Servers count PINGs that come too
    /// often (`GRPCLimits.minimumPingInterval`; five minutes is everybody's default).
    public var keepaliveWithoutCalls = false
    /// Bytes of the requests of calls that wait; a call that would be more fails with RESOURCE_EXHAUSTED. An outage of a
    /// backend must not fill this process.
    public var maximumQueuedCallBytes = 64 << 20
    /// What one connection's calls may keep of their answers: messages that are not whole, or that a paused caller has not
    /// taken. The call that would keep more fails with RESOURCE_EXHAUSTED: a broken backend must not fill this process
    /// either. Bytes.
    public var maximumHeldBytes = 64 << 20
    /// Events (HEADERS, DATA …) of one connection that are handled in one turn.
    public var maximumEventsPerRead = 512
    /// A frame or a header block that has begun must be whole by then, and our SETTINGS acknowledged; else the connection is
    /// lost.
    @Nanoseconds public var frameTimeout: Duration = .seconds(20)
    /// A message of an answer that has begun must be whole in this time, and in what its bytes earn at 1 KiB a second; else
    /// the call fails with DEADLINE_EXCEEDED.
    @Nanoseconds public var answerTimeout: Duration = .seconds(30)
    /// A server that takes less than 1 KiB a second of a whole request during this time has stopped, and the call fails with
    /// DEADLINE_EXCEEDED.
    @Nanoseconds public var outputTimeout: Duration = .seconds(30)
    /// The same for a stream of requests that goes on: the server may have paused it for a reason.
    @Nanoseconds public var pausedStreamTimeout: Duration = .seconds(300)
    /// After a GOAWAY calls in flight may take so long; then their connection is closed.
    @Nanoseconds public var drainTimeout: Duration = .seconds(300)
    /// What a streaming call may hold that was sent and has not left. Bytes; one byte more fails the call.
    public var maximumQueuedBytes = 8 << 20
    /// A stream's `isWritable` turns false above this. Bytes.
    public var writableBelow = 64 << 10
    /// TLS, with the protocol `h2` whatever the context offers; nil: HTTP/2 in the clear. The certificate must be for the context's
    /// `serverName`; if it has none, for the host of `authority`.
    public var tls: TLSClientContext?
    /// The `:authority` of calls. Nil: the target.
    public var authority: String?
    /// How the messages of requests are compressed whose call says nothing of it.
    public var compression = MessageCompression.identity
    /// Whether servers may compress their answers with gzip, unless a call says otherwise.
    public var acceptsCompression = false
    /// Who sees each call before it is sent, in order.
    public var interceptors: [any ClientInterceptor] = []

    /// The defaults.
    public init() {}
}
