import WebSockets

/// Close codes beside those of RFC 6455 (§7.4.2: 3000–3999 are for libraries and frameworks). Clients come back after
/// 3000–3499 and not after 3500–3999.
extension CloseCode {
    /// A list was begun and not taken whole in time.
    public static let tooSlow = CloseCode(rawValue: 3008)
    /// A Ping got no Pong in time.
    public static let noPong = CloseCode(rawValue: 3012)
    /// The request can't be served: bad parameters, an unknown trip or driver.
    public static let badRequest = CloseCode(rawValue: 3501)
    /// Too many bad messages.
    public static let tooManyErrors = CloseCode(rawValue: 3509)
}
