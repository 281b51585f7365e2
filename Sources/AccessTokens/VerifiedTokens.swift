import Memory

/// Remembers what became of tokens that were verified, until they expire: verifying costs a hundred times as much.
///
/// Bounded: when it is full, one that was not asked for lately goes. Belongs to one loop.
///
/// **What is remembered of a token** is its code by a key of this table alone (`SipHash`, 128 bits), which never leaves the process;
/// not the token, since what is remembered can leak: of 10,000 tokens in memory each would open the door.
///
/// **Why another token is not taken for it.** A token is found only if its code is equal to one that is remembered in all 128 bits.
/// Codes of tokens that were never taken cannot be told from random ones by whoever does not know the key, and nobody is told a
/// code: all that is told is whether a token was found, and how long that took. Which tokens the attacker chooses, and how many of
/// their own were remembered before, does not help: each further guess finds one of n codes with the probability n / 2¹²⁸. A
/// billion guesses a second against a full table would take 10¹⁷ years for one in a thousand. (All bytes count, header and claims
/// like the signature: a signature does not make other claims good.) Two tokens of one attacker with the same code, which would
/// have one stand for the other, are not found in fewer than 2⁶⁴ that were verified.
///
/// **What the time tells.** The place where the search begins is a part of the code, and so looks random; whether a search had to
/// go further tells nothing about the codes of other tokens. Codes are compared in constant time.
///
/// SHA-256, which needs no secret key, costs nine times as much: it is for what is stored, or shown to others.
public final class VerifiedTokens<Value> {
    @usableFromInline
    struct Entry {
        @usableFromInline var code: SipHash.Code
        @usableFromInline var value: Value
        @usableFromInline var expires: Int64
        /// Asked for since the hand passed by.
        @usableFromInline var isUsed: Bool

        @usableFromInline
        init(code: SipHash.Code, value: Value, expires: Int64) {
            self.code = code
            self.value = value
            self.expires = expires
            isUsed = false
        }
    }

    @usableFromInline let hash = SipHash()
    @usableFromInline var entries: [Entry] = []
    /// Where an entry is, plus 1, by its code: the first place from the code's own on that is free or has it. Half of them are
    /// free, so that a search is short.
    @usableFromInline var places = Vector<UInt32>()
    /// Where the next one to go is looked for.
    private var hand = 0
    private let capacity: Int

    /// - Parameter capacity: tokens that are remembered; at least 1.
    public init(capacity: Int = 10_000) {
        self.capacity = min(max(1, capacity), 1 << 30)
        for _ in 0..<16 { places.append(0) }
    }

    /// Tokens that are remembered.
    public var count: Int { entries.count }

    /// What was remembered of a token; nil: nothing, or it has expired.
    ///
    /// - Parameter now: Unix seconds.
    @inlinable
    public func find(_ token: Span<UInt8>, at now: Int64) -> Value? {
        let place = place(of: hash.code(of: token))
        guard places[place] != 0 else { return nil }
        let index = Int(places[place]) - 1
        guard entries[index].expires > now else {
            remove(index)
            return nil
        }
        entries[index].isUsed = true
        return entries[index].value
    }

    /// Remembers a token until `expires`, Unix seconds.
    public func remember(_ token: Span<UInt8>, _ value: Value, expires: Int64) {
        let code = hash.code(of: token)
        let entry = Entry(code: code, value: value, expires: expires)
        let place = place(of: code)
        if places[place] != 0 {
            entries[Int(places[place]) - 1] = entry
        } else if entries.count < capacity {
            entries.append(entry)
            places[place] = UInt32(truncatingIfNeeded: entries.count)
            if 2 * entries.count > places.count { grow() }
        } else {
            // One that is new and never asked for again must not push out one that is used: the hand takes the mark of those it
            // passes, and stops at one without. It stops within one round.
            while entries[hand].isUsed {
                entries[hand].isUsed = false
                hand = (hand + 1) % entries.count
            }
            vacate(self.place(of: entries[hand].code))
            entries[hand] = entry
            places[self.place(of: code)] = UInt32(truncatingIfNeeded: hand + 1)
            hand = (hand + 1) % entries.count
        }
    }

    /// Forgets those of which `isGone` says so: their subject was revoked, or their issuer has changed its keys.
    public func forget(where isGone: (Value) -> Bool) {
        for index in entries.indices.reversed() where isGone(entries[index].value) { remove(index) }
    }

    @usableFromInline
    func remove(_ index: Int) {
        vacate(place(of: entries[index].code))
        // The last one takes its index; its place is found as long as it has its own.
        let last = entries.count - 1
        if index < last {
            places[place(of: entries[last].code)] = UInt32(truncatingIfNeeded: index + 1)
            entries.swapAt(index, last)
        }
        entries.removeLast()
        if hand >= entries.count { hand = 0 }
    }

    // MARK: Places

    @inlinable var mask: Int { places.count - 1 }

    /// Where a search for a code begins.
    @inlinable
    func home(of code: SipHash.Code) -> Int { Int(truncatingIfNeeded: code.low) & mask }

    /// Where a code's entry is named, or would be.
    @inlinable
    func place(of code: SipHash.Code) -> Int {
        var place = home(of: code)
        while places[place] != 0, entries[Int(places[place]) - 1].code != code { place = (place + 1) & mask }
        return place
    }

    /// Frees a place. Those behind it that were put there only because it was taken move up.
    private func vacate(_ place: Int) {
        var free = place
        var next = (place + 1) & mask
        while places[next] != 0 {
            let home = home(of: entries[Int(places[next]) - 1].code)
            if (next - home) & mask >= (next - free) & mask {
                places[free] = places[next]
                free = next
            }
            next = (next + 1) & mask
        }
        places[free] = 0
    }

    private func grow() {
        for place in 0..<places.count { places[place] = 0 }
        for _ in 0..<places.count { places.append(0) }
        for index in entries.indices { places[place(of: entries[index].code)] = UInt32(truncatingIfNeeded: index + 1) }
    }
}
