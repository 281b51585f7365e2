import RideDomain
import Testing

/// What a rule takes and what it refuses; the words are those of the API.
@Suite struct RulesTests {
    @Test(arguments: [-90, 90, 0, -0.0, 89.999_999]) func aLatitude(value: Double) {
        #expect(Rules.latitude.violation(of: "lat", value) == nil)
    }

    @Test(arguments: [
        (90.5, "90.5"), (-91, "-91"), (.nan, "nan"), (.infinity, "inf"), (1e300, "1e+300"),
        (-1e18, "-1000000000000000000"),
    ])
    func noLatitude(value: Double, said: String) {
        #expect(
            Rules.latitude.violation(of: "lat", value) == "lat is \(said); it must be between -90 and 90.")
    }

    @Test func aWholeNumberIsWhole() {
        #expect(Rules.pageSize.violation(of: "n", 1) == nil && Rules.pageSize.violation(of: "n", 100) == nil)
        for bad in [0, 101, 1.5, -.infinity, .nan] { #expect(Rules.pageSize.violation(of: "n", bad) != nil) }
    }

    @Test func aTextForPeople() {
        let rule = Rules.vehicleWord
        #expect(rule.violation(of: "make", String(repeating: "é", count: 50)) == nil)
        let rest = "it must be a text of 1 to 50 characters."
        #expect(rule.violation(of: "make", "") == "make is empty; " + rest)
        #expect(rule.violation(of: "make", " \t ") == "make is \" \t \"; " + rest)
        #expect(rule.violation(of: "make", "a\u{7}b") == "make has a control character; " + rest)
        let long = String(repeating: "a", count: 51)
        #expect(rule.violation(of: "make", long) == "make is \"\(long.prefix(40))…\"; " + rest)
        // One character of any number of code points is not one that people read.
        #expect(rule.violation(of: "make", "a" + String(repeating: "\u{301}", count: 200)) != nil)
    }

    @Test(arguments: ["k", "~ !", String(repeating: "k", count: 255)]) func aKey(key: String) {
        #expect(Rules.violation(ofKey: "key", key) == nil)
    }

    @Test(arguments: ["", "k\n", "ü", "\u{7F}", String(repeating: "k", count: 256)]) func noKey(key: String) {
        #expect(Rules.violation(ofKey: "key", key) == "key must be 1 to 255 printable ASCII characters.")
    }

    @Test(arguments: [
        (Box(west: -181, south: 0, east: 0, north: 1), "bbox has west -181; it must be between -180 and 180."),
        (Box(west: 0, south: 0, east: .nan, north: 1), "bbox has east nan; it must be between -180 and 180."),
        (Box(west: 0, south: 0, east: 0, north: 90.5), "bbox has north 90.5; it must be between -90 and 90."),
        (
            Box(west: 0, south: 2, east: 0, north: 1),
            "bbox has south 2 above north 1; the order is west,south,east,north."
        ),
    ])
    func noBox(box: Box, words: String) {
        #expect(box.violation == words && !box.isValid)
    }

    @Test func aBox() {
        #expect(Box(west: 170, south: -10, east: -170, north: 10).violation == nil)
    }

    /// A token that is given in the place of its name would lie about in records, and not be revoked.
    @Test func aTokenIsNotItsName() {
        let half = String(repeating: "A", count: 43)
        for name in ["a", "0190a1b2.0190a1b3", half, "\(half).x", "eyJ.x", "a.b.c"] {
            #expect(Rules.violation(ofTokenID: name) == nil, "\(name)")
        }
        for token in ["\(half).\(half)", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"] {
            #expect(Rules.violation(ofTokenID: token)?.hasPrefix("token_id is the token itself") == true, "\(token)")
        }
        #expect(Rules.violation(ofTokenID: "") == "token_id must be 1 to 255 printable ASCII characters.")
    }

    /// Whatever one character is made of, what is quoted of it stays short, and is looked at by bytes first.
    @Test(arguments: ["\u{301}", "\u{301}\u{327}", "\u{200D}👧"]) func aQuoteIsShort(mark: String) {
        let text = "a" + String(repeating: mark, count: 20_000)
        #expect(Rules.quoted(text).utf8.count <= 160 + 5 && Rules.quoted(text).hasSuffix("…\""))
        #expect(Rules.name.violation(of: "name", text)?.utf8.count ?? 0 < 300)
        #expect(Rules.quoted(String(repeating: "é", count: 40)) == "\"" + String(repeating: "é", count: 40) + "\"")
    }
}
