import Bytes
import Memory
import Reactor
import WebSockets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One WebSocket's own state: flat, about 90 bytes, in a table under its connection's identifier. What is big (an unfinished
/// message) lies in a slab while it is needed.
@safe struct Socket: BitwiseCopyable {
    ///     adopt ──▶ open ──close()──▶ closeSent ──peer's Close, timeout──▶ done ──connectionClosed──▶ gone
    ///                └──── peer's Close, violation (answered by ours) ────▶┘
    enum State: UInt8, BitwiseCopyable {
        case open
        /// Our Close frame is out, the peer's is awaited; nothing is sent any more.
        case closeSent
        /// Both are out, or the peer is not worth waiting for: the connection ends when its output is written, and the loop
        /// watches how long that takes.
        case done
    }

    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        /// A Ping is out, its Pong is not in.
        static let awaitsPong = Flags(rawValue: 1)
        /// It is to be closed 1001 at its next tick.
        static let leaving = Flags(rawValue: 2)
        /// Reading is paused: until its output is taken, or its turn comes again.
        static let paused = Flags(rawValue: 4)
        /// The message that is open now was open at the last Ping already.
        static let longMessage = Flags(rawValue: 8)
        /// What is sent to it alone may be compressed.
        static let deflates = Flags(rawValue: 16)
        /// What is sent to it is masked: we are its client.
        static let masks = Flags(rawValue: 32)
    }

    var parser = FrameParser(role: .server)
    /// Retained; let go by `connectionClosed`, after the table's entry has ended.
    var handler: Unmanaged<WebSocketHandler>?
    /// The pieces of a message that is not complete.
    var assembly = Handle<ByteBuffer>.none
    /// The endpoint's own number or handle.
    var context: UInt64 = 0
    /// Bytes that were used since the last look.
    var progress: UInt32 = 0
    /// In `closeSent`: bytes of output that waited at the last look.
    var waiting: UInt32 = 0
    /// The tick of the first bad message that is counted.
    var badSince: UInt32 = 0
    var closeCode = CloseCode.abnormal
    var badMessages: UInt8 = 0
    var state = State.open
    var flags: Flags = []

    init() { unsafe handler = nil }
}

extension PlaceTable {
    @inline(__always)
    @_lifetime(immortal)
    func find(_ id: WebSocketID) -> Place<Value>? { find(slot: id.slot, generation: id.generation) }

    @inline(__always)
    @_lifetime(immortal)
    func make(_ id: WebSocketID) -> Place<Value> { make(slot: id.slot, generation: id.generation) }

    @discardableResult
    func remove(_ id: WebSocketID) -> Bool { remove(slot: id.slot, generation: id.generation) }

    /// Whose value lies in `slot`.
    func id(atSlot slot: UInt32) -> WebSocketID? {
        generation(atSlot: slot).map { WebSocketID(slot: slot, generation: $0) }
    }
}
