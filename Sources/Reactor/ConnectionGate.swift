/// Who may connect to a listener. It is asked when a connection has been accepted, before anything is spent on it (TLS, a read),
/// and told when it has ended. On the loop of the listener.
public protocol ConnectionGate: AnyObject {
    /// Whether a connection of this client is kept; else it is closed without a word.
    func admits(_ client: SocketAddress) -> Bool
    /// A connection that was admitted has ended.
    ///
    /// - Parameter mark: what was given to `EventLoop.setMark`; 0: nothing.
    func ended(_ client: SocketAddress, mark: UInt64)
    /// A connection is closed because its proxy did not say whom it speaks for.
    ///
    /// - Parameter failure: nil: it is none whose word counts, or it said nothing in time.
    func refusedProxy(_ peer: SocketAddress?, _ failure: ProxyHeader.Failure?)
}

/// Whom a connection is from, where somebody wanted to know.
struct Guest {
    let address: SocketAddress
    let gate: (any ConnectionGate)?
    var mark: UInt64 = 0
}

extension EventLoop {
    /// Keeps a number with a connection that a gate has admitted, for `ConnectionGate.ended`.
    public func setMark(_ id: ConnectionID, _ mark: UInt64) {
        guard let place = connection(id), place.value.guest != 0 else { return }
        hot.value.guests[Int(place.value.guest) - 1]?.mark = mark
    }

    /// The number that was kept, 0 at first; nil: no gate has admitted such a connection.
    public func mark(_ id: ConnectionID) -> UInt64? {
        guard let place = connection(id) else { return nil }
        return guest(place)?.mark
    }

    /// Whom a connection is from, if that was asked when it was accepted.
    func guest(_ place: Place<Connection>) -> Guest? {
        place.value.guest == 0 ? nil : hot.value.guests[Int(place.value.guest) - 1]
    }

    /// Asks the gate, and remembers whom the connection is from. False: it is not to be kept.
    func welcome(_ place: Place<Connection>, _ client: SocketAddress, _ gate: (any ConnectionGate)?) -> Bool {
        guard gate?.admits(client) ?? true else { return false }
        let guest = Guest(address: client, gate: gate)
        if let free = hot.value.freeGuests.popLast() {
            hot.value.guests[Int(free) - 1] = guest
            place.value.guest = free
        } else {
            hot.value.guests.append(guest)
            place.value.guest = UInt32(truncatingIfNeeded: hot.value.guests.count)
        }
        return true
    }

    /// The connection has ended.
    func sayGoodbye(_ place: Place<Connection>) {
        guard let guest = guest(place) else { return }
        hot.value.guests[Int(place.value.guest) - 1] = nil
        hot.value.freeGuests.append(place.value.guest)
        place.value.guest = 0
        guest.gate?.ended(guest.address, mark: guest.mark)
    }
}
