import Bytes
import HTTPServer
import Testing

@testable import Access
@testable import AccessTokens
@testable import GatewayService

extension ProviderRoutesTests {
    // MARK: Words

    /// People are shown the page, not a document of JSON.
    @Test func aBrowserIsSentToThePageThatSaysWhatWentWrong() {
        browser.fields = "Accept: text/html,application/xhtml+xml\r\n"
        #expect(
            browser.finish([("state", "x"), ("code", "y")]).location == "http://localhost:8080/?sign-in=sign-in-expired"
        )
        let wanted = browser.begin()
        let denied = browser.finish([("error", "access_denied"), ("state", wanted["state"] ?? "")])
        #expect(denied.status == 303 && denied.location == "http://localhost:8080/?sign-in=sign-in-refused")
        #expect(browser.cookies.isEmpty)
    }

    @Test func aNameIsShownAsText() {
        world.provider.claims = ["name": "\"A\\u0000\\u202Eda \(String(repeating: "x", count: 200))\""]
        _ = browser.signIn()
        #expect(browser.session.member("name") == "Ada " + String(repeating: "x", count: 60))
        world.provider.claims = ["name": nil, "preferred_username": nil]
        let other = TestBrowser(world)
        _ = other.signIn(as: "ada@example")
        #expect(other.session.member("name") == "ada@example")
    }

    @Test func withoutAProviderPeopleAreGuests() throws {
        let world = try RESTWorld(access: .own(try #require(SigningKey())))
        for path in ["/auth/login", "/auth/callback"] {
            #expect(world.send("GET", path).hasPrefix("HTTP/1.1 404 "))
        }
        #expect(!world.send("POST", "/auth/session", fields: "Origin: http://h\r\n").contains("sign_in"))
    }
}
