import Bytes
import JSONWire

/// The keys of an issuer, as a JSON Web Key Set has them (RFC 7517 §5).
public struct JSONWebKeySet: Sendable {
    /// Those that tokens can be verified with.
    public private(set) var keys: [VerificationKey] = []
    /// Why others of the set are not among them, a line each: for a log.
    public private(set) var refused: [String] = []

    /// More are no set of keys, but an attack on whoever reads it.
    static let limit = 100

    /// Reads a set. Keys that can't be used (of another type, for encryption, too weak) are left out, and named in `refused`:
    /// a set may have such for others (RFC 7517 §5).
    ///
    /// - Throws: `JSONWebKeySetError`: the text is no set at all, or two of its keys have the same `kid`.
    public init(_ json: Span<UInt8>) throws(JSONWebKeySetError) {
        var records: [KeyRecord]?
        do throws(JSONError) {
            var limits = JSONLimits()
            limits.size = 256 << 10
            var reader = JSONReader(json, limits: limits)
            try reader.beginObject()
            while let name = try reader.nextMember() {
                guard reader.isEqual(name, "keys") else {
                    try reader.skipValue()
                    continue
                }
                try reader.beginArray()
                var list: [KeyRecord] = []
                while try reader.nextElement() { list.append(try KeyRecord(&reader)) }
                records = list
            }
            try reader.finish()
        } catch {
            throw JSONWebKeySetError("not a JSON Web Key Set: \(error.explanation) at byte \(error.offset)")
        }
        guard let records else { throw JSONWebKeySetError("not a JSON Web Key Set: it has no member \"keys\"") }
        guard records.count <= Self.limit else {
            throw JSONWebKeySetError("a set of \(records.count) keys; \(Self.limit) are the most")
        }
        var names: Set<String> = []
        for (index, record) in records.enumerated() {
            do throws(KeyRecord.Unusable) {
                let key = try record.makeKey()
                if let name = key.identifier, !names.insert(name).inserted {
                    throw KeyRecord.Unusable("another key has the same kid")
                }
                keys.append(key)
            } catch {
                refused.append("key \(index + 1): \(error.reason)")
            }
        }
    }

    /// Whether the same tokens are verified by it.
    public func isSame(as other: JSONWebKeySet) -> Bool {
        keys.count == other.keys.count && zip(keys, other.keys).allSatisfy { $0.isSame(as: $1) }
    }

    /// The key that a token names. Without a name it is the only one: to try several would let whoever sends a token choose how
    /// much work it is.
    func key(named identifier: String?) -> VerificationKey? {
        guard let identifier else { return keys.count == 1 ? keys[0] : nil }
        return keys.first { $0.identifier == identifier }
    }

    /// A set of these keys.
    public init(_ keys: [VerificationKey]) { self.keys = keys }
}

/// Why a text is no set of keys.
public struct JSONWebKeySetError: Error, Equatable, CustomStringConvertible {
    /// In words.
    public let description: String

    init(_ description: String) { self.description = description }
}

/// What a JSON Web Key says (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). Members that link to certificates, or contain them
/// (`x5u`, `x5c`), are read over: nothing is fetched, and nobody is believed who shows one.
struct KeyRecord {
    /// Why a key can't be used here.
    struct Unusable: Error {
        let reason: String
        init(_ reason: String) { self.reason = reason }
    }

    private var texts: [String: String] = [:]
    private var operations: [String]?
    private var isPrivate = false

    /// Reads the object that is the next value. A member of another type than it has to be counts as not there, but is not
    /// forgotten: the key is unusable.
    init(_ reader: inout JSONReader) throws(JSONError) {
        guard try reader.peek() == .object else {
            try reader.skipValue()
            return
        }
        try reader.beginObject()
        while let name = try reader.nextMember() {
            let member = reader.string(of: name)
            switch member {
            case "kty", "use", "alg", "kid", "n", "e", "crv", "x", "y":
                guard try reader.peek() == .string else {
                    try reader.skipValue()
                    texts[member] = "\u{0}"
                    continue
                }
                texts[member] = try reader.readString()
            case "key_ops":
                operations = []
                guard try reader.peek() == .array else {
                    try reader.skipValue()
                    continue
                }
                try reader.beginArray()
                while try reader.nextElement() {
                    guard try reader.peek() == .string else {
                        try reader.skipValue()
                        continue
                    }
                    operations?.append(try reader.readString())
                }
            case "d", "k":
                isPrivate = true
                try reader.skipValue()
            default: try reader.skipValue()
            }
        }
    }

    func makeKey() throws(Unusable) -> VerificationKey {
        guard !isPrivate else {
            throw Unusable("a private or shared key has no place in a set that is read by everybody")
        }
        if let use = texts["use"], use != "sig" { throw Unusable("it is not for signatures") }
        if let operations, !operations.contains("verify") { throw Unusable("it is not for verifying") }
        if let name = texts["kid"], !Self.isName(name) {
            throw Unusable("a kid of more than 255 bytes, of none, or no text")
        }
        let (algorithm, key) = try makeParts()
        return VerificationKey(identifier: texts["kid"], algorithm: algorithm, key: key)
    }

    static func isName(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count) && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    private func makeParts() throws(Unusable) -> (SignatureAlgorithm, EVPKey) {
        let named = texts["alg"].map { SignatureAlgorithm(name: $0) }
        if let named, named == nil { throw Unusable("its alg is none that is verified here") }
        switch texts["kty"] {
        case "RSA":
            // What OpenID Connect takes where nothing is said (Discovery 1.0 §3: RS256 must be among those supported).
            let algorithm = (named ?? nil) ?? .rs256
            guard algorithm == .rs256 || algorithm == .ps256 else { throw Unusable("its alg is not for RSA") }
            return (algorithm, try makeRSA())
        case "EC":
            guard texts["crv"] == "P-256" else { throw Unusable("its curve is not P-256") }
            guard ((named ?? nil) ?? .es256) == .es256 else { throw Unusable("its alg is not for its curve") }
            let (x, y) = (try bytes("x"), try bytes("y"))
            guard x.count == 32, y.count == 32, let key = EVPKey.p256(x: x, y: y) else {
                throw Unusable("no point of P-256")
            }
            return (.es256, key)
        case "OKP":
            guard texts["crv"] == "Ed25519" else { throw Unusable("its curve is not Ed25519") }
            guard ((named ?? nil) ?? .ed25519) == .ed25519 else { throw Unusable("its alg is not for its curve") }
            guard let key = EVPKey.ed25519(try bytes("x")) else { throw Unusable("no key of Ed25519") }
            return (.ed25519, key)
        default: throw Unusable("its kty is not RSA, EC or OKP")
        }
    }

    /// RFC 7518 §3.3: 2,048 bits at least. At most 8,192, for the work; and an exponent that makes a signature one: 1 would let
    /// everybody sign, an even one is none.
    private func makeRSA() throws(Unusable) -> EVPKey {
        let (modulus, exponent) = (try bytes("n"), try bytes("e"))
        let bits = modulus.isEmpty ? 0 : modulus.count * 8 - modulus[0].leadingZeroBitCount
        guard (2_048...8_192).contains(bits), modulus.last.map({ $0 & 1 == 1 }) == true else {
            throw Unusable("a modulus of \(bits) bits; 2,048 to 8,192 are taken, and it is odd")
        }
        guard (1...8).contains(exponent.count), exponent != [1], exponent[0] != 0, exponent[exponent.count - 1] & 1 == 1
        else { throw Unusable("an exponent that is even, 1, or longer than eight bytes") }
        guard let key = EVPKey.rsa(modulus: modulus, exponent: exponent) else { throw Unusable("no key of RSA") }
        return key
    }

    private func bytes(_ name: String) throws(Unusable) -> [UInt8] {
        guard let text = texts[name], let bytes = Base64URL.decode(Array(text.utf8).span) else {
            throw Unusable("its \(name) is not there, or not base64url")
        }
        return bytes
    }
}
