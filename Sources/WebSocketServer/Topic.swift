import Bytes

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Names a topic of one hub. A removed topic's identifier names nothing.
public struct TopicID: Hashable, Sendable, BitwiseCopyable {
    let index: UInt32
    let generation: UInt32

    /// Names no topic, ever.
    public static let none = TopicID(index: 0, generation: 0)
}

/// A topic: its newest frames and the queue of its subscribers.
@safe struct Topic {
    var generation: UInt32 = 1
    var isUsed = false
    /// Frames that were published so far; the newest has this number.
    var sequence: UInt64 = 0
    /// How many of the newest frames are kept: a reader that is further behind has lost one.
    var history = 1
    /// What a new subscriber is given: the newest frame, or only what comes.
    var greets = true
    /// The kept frames, number n at n mod `history`. Each retained.
    var frames: UnsafeMutablePointer<Unmanaged<SharedBytes>?>?
    /// Of the newest frame: Unix milliseconds of the cause, 0 if it is not to be measured.
    var cause: Int64 = 0
    var first = UInt32.max
    var last = UInt32.max
    var subscribers = 0

    init() { unsafe frames = nil }
}

/// A subscriber's state, flat, by its connection's slot.
@safe struct Subscriber: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        /// `requestFlush` was called and `willFlush` has not come.
        static let asked = Flags(rawValue: 1)
        /// It could not take the newest frame; `drained` will come.
        static let waits = Flags(rawValue: 2)
        /// It stands in the queue of its interval.
        static let paced = Flags(rawValue: 4)
        /// A frame was published while it stood there.
        static let dirty = Flags(rawValue: 8)
    }

    /// Its identifier's token.
    var token: UInt64 = 0
    /// `UInt32.max` when it subscribes to nothing.
    var topic = UInt32.max
    /// The queue of the topic.
    var next = UInt32.max
    var previous = UInt32.max
    /// The queue of the interval.
    var pacedNext = UInt32.max
    var pacedPrevious = UInt32.max
    /// The queue of its interval; nil without one. The hub keeps it while it has subscribers.
    var pacer: Unmanaged<Pacer>?
    var flags: Flags = []
    /// The tick at which it is looked whether that frame was taken whole; 0 when it is not.
    var checkedAt: UInt32 = 0
    /// The number of the newest frame that it was given.
    var sent: UInt64 = 0
    /// When the next one may follow, loop nanoseconds.
    var mayAt: UInt64 = 0

    init() { unsafe pacer = nil }

    var id: WebSocketID { WebSocketID(token: token) }
}
