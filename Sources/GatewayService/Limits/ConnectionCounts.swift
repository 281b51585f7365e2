import Operations
import Reactor
import Synchronization

/// How many connections there are: one for all loops of a gateway. Thread-safe.
///
/// A lock, not a table of atomics: it is taken when a connection begins and ends, beside several system calls each.
final class ConnectionCounts: Sendable {
    private struct State {
        var all = 0
        var byAddress: [UInt128: Int] = [:]
        var byPrincipal: [UInt64: Int] = [:]
    }

    private let state = Mutex(State())
    private let limits: [ConnectionLimits.Count: Int]

    init(_ limits: [ConnectionLimits.Count: Int]) { self.limits = limits }

    /// Counts a connection of an address; nil: it may be. Else what there are too many of.
    ///
    /// - Parameter isCrowd: many people are behind the address, and only the limit of all holds for it.
    func enter(_ address: SocketAddress, isCrowd: Bool = false) -> ConnectionLimits.Count? {
        let network = address.network
        return state.withLock { state in
            if state.all >= limits[.all] ?? .max { return .all }
            let count = state.byAddress[network] ?? 0
            if !isCrowd, count >= limits[.address] ?? .max { return .address }
            state.all += 1
            state.byAddress[network] = count + 1
            return nil
        }
    }

    func leave(_ address: SocketAddress) {
        let network = address.network
        state.withLock { state in
            state.all -= 1
            state.byAddress[network] = state.byAddress[network].flatMap { $0 > 1 ? $0 - 1 : nil }
        }
    }

    /// Counts a WebSocket of a principal, by a digest of their name. False: they have as many as they may.
    func enter(principal digest: UInt64, isOperator: Bool) -> Bool {
        let most = (limits[.principal] ?? .max).multipliedReportingOverflow(
            by: isOperator ? LimitPolicy.crowdFactor : 1)
        return state.withLock { state in
            let count = state.byPrincipal[digest] ?? 0
            if !most.overflow && count >= most.partialValue { return false }
            state.byPrincipal[digest] = count + 1
            return true
        }
    }

    func leave(principal digest: UInt64) {
        state.withLock { state in
            state.byPrincipal[digest] = state.byPrincipal[digest].flatMap { $0 > 1 ? $0 - 1 : nil }
        }
    }

    /// Connections, addresses and principals that are counted.
    var sizes: (all: Int, addresses: Int, principals: Int) {
        state.withLock { ($0.all, $0.byAddress.count, $0.byPrincipal.count) }
    }
}
