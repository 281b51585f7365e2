import Bytes
import Memory
import Synchronization

/// What the loop holds in memory for the connections of one handler, as of the moment of asking. Written by the loop alone,
/// read by anyone.
public final class ConnectionAccount: Sendable {
    private let heldInput = Atomic<Int>(0)
    private let heldOutput = Atomic<Int>(0)

    /// Bytes of memory for input that the handler has not consumed, and for TLS records that are not decrypted.
    /// Thread-safe.
    public var input: Int { heldInput.load(ordering: .relaxed) }

    /// Bytes of memory for output that peers have not taken, TLS records included; of shared bytes what is left of them,
    /// though many connections may hold the same. What the running turn's flush will write is not counted. Thread-safe.
    public var output: Int { heldOutput.load(ordering: .relaxed) }

    func add(input: Int, output: Int) {
        LoopCounters.add(heldInput, input)
        LoopCounters.add(heldOutput, output)
    }
}

extension Connection {
    /// Bytes of memory for input.
    var heldInput: Int {
        guard let tls = unsafe tls else { return keptCount }
        return unsafe tls._withUnsafeGuaranteedRef { $0.inputMemory } + keptCount
    }

    /// Bytes of memory for output.
    var heldOutput: Int {
        var held = output.capacity
        if let shared = unsafe shared { held += unsafe shared._withUnsafeGuaranteedRef { $0.count } - sharedOffset }
        if let tls = unsafe tls { held += unsafe tls._withUnsafeGuaranteedRef { $0.ciphertext.capacity } }
        return held
    }
}

extension EventLoop {
    /// Counts anew what a connection holds. Called where something stays over, or what has stayed over goes: a turn that
    /// reads and writes everything counts nothing.
    func recount(_ place: Place<Connection>) {
        count(place, Int32(clamping: place.value.heldInput), Int32(clamping: place.value.heldOutput))
    }

    /// Takes a connection off its handler's account.
    func discount(_ place: Place<Connection>) { count(place, 0, 0) }

    private func count(_ place: Place<Connection>, _ input: Int32, _ output: Int32) {
        let more = (
            input: Int(input) - Int(place.value.countedInput), output: Int(output) - Int(place.value.countedOutput)
        )
        if more == (0, 0) { return }
        place.value.countedInput = input
        place.value.countedOutput = output
        unsafe place.value.handler?._withUnsafeGuaranteedRef { $0.account.add(input: more.input, output: more.output) }
    }

    /// Puts another handler in the place of a connection's, which may be running: it goes at the end of the turn.
    func replaceHandler(_ place: Place<Connection>, _ handler: ConnectionHandler) {
        discount(place)
        let old = unsafe place.value.handler.unsafelyUnwrapped.takeRetainedValue()
        unsafe place.value.handler = Unmanaged.passRetained(handler)
        hot.value.retired.append(old)
        recount(place)
    }
}
