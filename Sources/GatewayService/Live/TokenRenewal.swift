import Access
import Bytes
import HTTPServer
import JSONWire
import WebSocketServer

/// A WebSocket's next token, in band: `{"type":"token","token":"…"}` of the same person, with the same roles at least, lets it stay open
/// until that one expires; the answer is `{"type":"token","expires_at":"…"}`. On the loop of the WebSockets.
final class TokenRenewal {
    private let access: AccessControl
    private let expiry: SocketExpiry
    private let sockets: WebSocketServer

    init(access: AccessControl, expiry: SocketExpiry, sockets: WebSocketServer) {
        self.access = access
        self.expiry = expiry
        self.sockets = sockets
    }

    /// Takes a message if it is one of these; false: it is another's.
    func take(_ id: WebSocketID, _ text: Span<UInt8>) -> Bool {
        guard Self.mayBeToken(text), let token = Self.token(text) else { return false }
        do throws(Problem) {
            let principal = try access.principal(ofToken: token)
            switch expiry.renew(id, for: principal) {
            case .renewed: break
            case .notTheirs: throw Problem(403, "not-yours", "The token is not of whom this WebSocket was opened for.")
            case .tooEarly:
                throw Problem(
                    422, "invalid-body",
                    "The token ends hardly later than the one before; send the next one when that is nearly over.")
            }
            var answer = ByteBuffer()
            answer.beginJSONObject()
            answer.appendJSON("type", string: "token")
            answer.appendJSON("expires_at", instant: principal.expires * 1000)
            answer.endJSONObject()
            sockets.sendText(id, answer.span)
        } catch {
            sockets.sendError(id, error)
            sockets.countBadMessage(id)
        }
        return true
    }

    /// Whether `"token"` stands near the beginning: what else is sent here is not read twice.
    private static func mayBeToken(_ text: Span<UInt8>) -> Bool {
        guard text.count > 24 else { return false }
        let word: StaticString = "\"token\""
        for start in 0..<min(24, text.count - 7) where text[start] == UInt8(ascii: "\"") {
            if ASCII.equals(text.extracting(start..<(start + 7)), word) { return true }
        }
        return false
    }

    /// The token of such a message; nil: it is none.
    private static func token(_ text: Span<UInt8>) -> String? {
        do throws(JSONError) {
            var reader = JSONReader(text)
            var (isToken, token): (Bool, String?) = (false, nil)
            try reader.beginObject()
            while let name = try reader.nextMember() {
                if reader.isEqual(name, "type"), try reader.peek() == .string {
                    isToken = reader.isEqual(try reader.readText(), "token")
                } else if reader.isEqual(name, "token"), try reader.peek() == .string {
                    token = try reader.readString()
                } else {
                    try reader.skipValue()
                }
            }
            try reader.finish()
            return isToken ? token : nil
        } catch {
            return nil
        }
    }
}
