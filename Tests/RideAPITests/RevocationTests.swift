import Bytes
import RideAPI
import RideDomain
import Testing

/// What the topic `auth_revocations` holds.
@Suite struct RevocationTests {
    @Test(arguments: [Revocation.Target.subject("ada"), .token("0198/x \"y\"")])
    func aRevocationIsReadAsItWasWritten(target: Revocation.Target) throws {
        let revocation = Revocation(target: target, at: 1_700_000_000_123, reason: "lost \"phone\"\n")
        var buffer = ByteBuffer()
        revocation.encode(into: &buffer)
        #expect(try Revocation(decoding: buffer.array().span) == revocation)
        #expect(Revocation.Target(key: target.key) == target)
    }

    @Test func whatIsNoneIsSkippedOrRefused() throws {
        #expect(try Revocation(decoding: Array(#"{"type":"Other","subject":"ada"}"#.utf8).span) == nil)
        let at = #""at":"2026-11-28T20:00:00.000Z""#
        for text in [
            "", "[]", "{}", #"{"type":"Revoked"}"#, #"{"type":"Revoked","subject":"ada"}"#,
            #"{"type":"Revoked","subject":"ada","at":"yesterday"}"#, #"{"type":"Revoked",\#(at)}"#,
            #"{"type":"Revoked","subject":"ada","token_id":"t",\#(at)}"#,
            #"{"type":"Revoked","subject":"ada",\#(at)} x"#,
        ] {
            #expect(throws: EventError.self, "\(text)") { try Revocation(decoding: Array(text.utf8).span) }
        }
        for key in ["", "ada", "subject/", "driver/ada", "/ada"] { #expect(Revocation.Target(key: key) == nil) }
    }

    /// An instant is another program's word.
    @Test(arguments: [.min, -1, .max] as [Int64]) func noInstantOverflows(at: Int64) {
        let revocation = Revocation(target: .subject("ada"), at: at, reason: "")
        #expect(Moment.walls.contains(revocation.at) && Moment.walls.contains(revocation.expiresAt))
    }
}
