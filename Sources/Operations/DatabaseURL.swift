/// Where a service keeps its data. Another kind of database is another case here, and in the services' factories.
public enum DatabaseURL: Sendable, Hashable, CustomStringConvertible {
    /// `sqlite:PATH`: a file, or for the all-in-one program a folder of them.
    case sqlite(path: String)

    /// Nil: it names no database that is known here.
    public init?(_ text: String) {
        let scheme = "sqlite:"
        guard text.hasPrefix(scheme), text.utf8.count > scheme.utf8.count else { return nil }
        self = .sqlite(path: String(text.dropFirst(scheme.count)))
    }

    /// What may be shown of a text that should be a database URL: all of it if it has no room for a password.
    @Sendable
    static func redacted(_ text: String) -> String { Self(text) == nil ? "(hidden)" : text }

    public var path: String {
        switch self {
        case .sqlite(let path): path
        }
    }

    public var description: String { "sqlite:\(path)" }
}

/// A database that can't be opened, with the setting that helps.
public struct DatabaseStartError: Error, CustomStringConvertible {
    public let description: String

    public init(_ error: any Error) { description = "\(error) (CABSTAND_DATABASE_URL names the database.)" }
}
