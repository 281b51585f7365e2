import Bytes
import COpenSSL

/// The SHA-256 digest of a token: what is remembered of one, since what is remembered can leak.
struct TokenDigest: Hashable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    init(_ digest: [UInt8]) {
        func word(_ index: Int) -> UInt64 {
            digest[(index * 8)..<(index * 8 + 8)].reduce(0) { $0 << 8 | UInt64($1) }
        }
        words = (word(0), word(1), word(2), word(3))
    }

    static func == (left: Self, right: Self) -> Bool { left.words == right.words }

    func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// SHA-256 (FIPS 180-4).
public enum SHA256 {
    /// The 32 bytes of the digest.
    public static func digest(_ bytes: Span<UInt8>) -> [UInt8] {
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe [UInt8](unsafeUninitializedCapacity: 32) { digest, count in
                unsafe EVP_Digest(bytes.baseAddress, bytes.count, digest.baseAddress, nil, EVP_sha256(), nil)
                count = 32
            }
        }
    }
}

/// Remembers what became of tokens that were verified, until they expire: verifying costs fifty times as much.
///
/// Bounded: when it is full, one that was not asked for lately goes. Belongs to one loop.
public final class VerifiedTokens<Value> {
    private struct Entry {
        var digest: TokenDigest
        var value: Value
        var expires: Int64
        /// Asked for since the hand passed by.
        var isUsed: Bool
    }

    private var entries: [Entry] = []
    private var places: [TokenDigest: Int] = [:]
    /// Where the next one to go is looked for.
    private var hand = 0
    private let capacity: Int

    /// - Parameter capacity: tokens that are remembered; at least 1.
    public init(capacity: Int = 10_000) { self.capacity = max(1, capacity) }

    /// Tokens that are remembered.
    public var count: Int { entries.count }

    /// What was remembered of a token; nil: nothing, or it has expired.
    ///
    /// - Parameter now: Unix seconds.
    public func find(_ token: Span<UInt8>, at now: Int64) -> Value? {
        guard let place = places[TokenDigest(SHA256.digest(token))] else { return nil }
        guard entries[place].expires > now else {
            remove(place)
            return nil
        }
        entries[place].isUsed = true
        return entries[place].value
    }

    /// Remembers a token until `expires`, Unix seconds.
    public func remember(_ token: Span<UInt8>, _ value: Value, expires: Int64) {
        let entry = Entry(
            digest: TokenDigest(SHA256.digest(token)), value: value, expires: expires, isUsed: false)
        if let place = places[entry.digest] {
            entries[place] = entry
        } else if entries.count < capacity {
            places[entry.digest] = entries.count
            entries.append(entry)
        } else {
            // One that is new and never asked for again must not push out one that is used: the hand takes the mark of those it
            // passes, and stops at one without. It stops within one round.
            while entries[hand].isUsed {
                entries[hand].isUsed = false
                hand = (hand + 1) % entries.count
            }
            places[entries[hand].digest] = nil
            places[entry.digest] = hand
            entries[hand] = entry
            hand = (hand + 1) % entries.count
        }
    }

    /// Forgets those of which `isGone` says so: their subject was revoked, or their issuer has changed its keys.
    public func forget(where isGone: (Value) -> Bool) {
        for place in entries.indices.reversed() where isGone(entries[place].value) { remove(place) }
    }

    private func remove(_ place: Int) {
        places[entries[place].digest] = nil
        let last = entries.removeLast()
        if place < entries.count {
            entries[place] = last
            places[last.digest] = place
        }
        if hand >= entries.count { hand = 0 }
    }
}
