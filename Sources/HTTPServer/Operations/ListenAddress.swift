import Reactor
import Settings

extension SettingsValues {
    /// The configured address with `port`.
    ///
    /// - Throws: `ListenAddressError` if it is not an IP address.
    public func listenAddress(port: Int) throws(ListenAddressError) -> SocketAddress {
        let text = self[CabstandSettings.bind]
        guard let address = SocketAddress(ip: text, port: UInt16(port)) else { throw ListenAddressError(text: text) }
        return address
    }
}

/// An address to listen on that is none.
public struct ListenAddressError: Error, Sendable, CustomStringConvertible {
    let text: String

    public var description: String {
        "CABSTAND_BIND is \"\(text)\"; it must be an IP address of this machine."
    }
}
