import Bytes
import Reactor
import WebSockets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One WebSocket's own state: flat, about 90 bytes. What is big (an unfinished message) hangs on a pointer while it is
/// needed.
@safe struct Socket: BitwiseCopyable {
    ///     free ──adopt──▶ open ──close()──▶ closeSent ──peer's Close, timeout──▶ done ──connectionClosed──▶ free
    ///                      └──── peer's Close, violation (answered by ours) ────▶┘
    enum State: UInt8, BitwiseCopyable {
        case free
        case open
        /// Our Close frame is out, the peer's is awaited; nothing is sent any more.
        case closeSent
        /// Both are out, or the peer is not worth waiting for: the connection ends when its output is written.
        case done
    }

    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        /// A Ping is out, its Pong is not in.
        static let awaitsPong = Flags(rawValue: 1)
        /// It is to be closed 1001 at its next tick.
        static let leaving = Flags(rawValue: 2)
        /// Reading is paused until its output is taken.
        static let paused = Flags(rawValue: 4)
        /// `webSocketOpened` was called.
        static let announced = Flags(rawValue: 8)
    }

    var parser = FrameParser(role: .server)
    /// Retained.
    var handler: Unmanaged<WebSocketHandler>?
    /// The pieces of a message that is not complete. Owned.
    var assembly: UnsafeMutablePointer<ByteBuffer>?
    /// Generation of the connection that this place belongs to.
    var generation: UInt32 = 0
    /// The endpoint's own number.
    var context: UInt32 = 0
    /// The tick of the last bytes.
    var lastRead: UInt32 = 0
    /// The tick of the first bad message that is counted.
    var badSince: UInt32 = 0
    var closeCode = CloseCode.abnormal
    var badMessages: UInt8 = 0
    var state = State.free
    var flags: Flags = []

    init() {
        unsafe handler = nil
        unsafe assembly = nil
    }
}
