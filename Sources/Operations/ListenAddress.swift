import Reactor
import Settings

extension ProgramSettings {
    /// The configured address with `port`.
    ///
    /// - Throws: `ListenAddressError` if it is not an IP address.
    public func listenAddress(port: Int) throws(ListenAddressError) -> SocketAddress {
        let text = self.bind
        guard let address = SocketAddress(ip: text, port: UInt16(port)) else { throw ListenAddressError(text: text) }
        return address
    }
}

extension ProgramSettings {
    /// Listens on the configured address and the port of a setting.
    ///
    /// - Throws: `ListenError`, which names the setting, if the port can't be had.
    /// - Returns: the address with the port that was taken.
    public func listening(
        _ setting: KeyPath<CabstandSettings, Setting<Int>>, _ listen: (SocketAddress) throws -> Listener
    ) throws -> SocketAddress { try listening(variable(setting), self[dynamicMember: setting], listen) }

    /// The same for an optional setting that is given.
    public func listening(
        _ setting: KeyPath<CabstandSettings, Setting<Int?>>, _ port: Int, _ listen: (SocketAddress) throws -> Listener
    ) throws -> SocketAddress { try listening(variable(setting), port, listen) }

    private func listening(
        _ variable: String, _ port: Int, _ listen: (SocketAddress) throws -> Listener
    ) throws -> SocketAddress {
        let address = try listenAddress(port: port)
        do {
            return try listen(address).localAddress
        } catch let error as SystemError {
            throw ListenError(description: "\(error); \(variable) chooses another port.")
        }
    }
}

extension SocketAddress {
    /// Where this machine reaches what listens on this address: loopback if it listens on every one.
    public var reachableHere: SocketAddress {
        switch ip {
        case "0.0.0.0": .loopback(port: port)
        case "::": SocketAddress(ip: "::1", port: port) ?? self
        default: self
        }
    }
}

/// A port that can't be had, with the setting that helps.
public struct ListenError: Error, Sendable, CustomStringConvertible {
    public let description: String
}

/// An address that can't be listened on.
public struct ListenAddressError: Error, Sendable, CustomStringConvertible {
    let text: String

    public var description: String {
        "CABSTAND_BIND is \"\(text)\"; it must be an IP address of this machine."
    }
}
