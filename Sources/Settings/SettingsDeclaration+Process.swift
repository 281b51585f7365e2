import Glibc

extension SettingsDeclaration {
    /// Reads the process's own arguments and environment. Prints and exits when that is all there is to do: 0 after
    /// `--help` and `--print-config`, 64 (EX_USAGE) after a bad value.
    ///
    /// - Parameters:
    ///   - arguments: instead of the process's own, without the program's name.
    ///   - leaving: called before anything is printed or checked: there will be no server.
    ///   - check: does what `--check` asks for.
    public func readOrExit(
        arguments: [String] = Array(CommandLine.arguments.dropFirst()), leaving: () -> Void = {},
        check: (SettingsValues<Catalogue>) -> Never
    ) -> SettingsValues<Catalogue> {
        do {
            switch try read(arguments: arguments, environment: Self.environment()) {
            case .run(let values): return values
            case .check(let values):
                leaving()
                check(values)
            case .print(let text):
                leaving()
                Self.write(text, to: STDOUT_FILENO)
                exit(0)
            }
        } catch {
            leaving()
            Self.write(error.lines.map { "\(program): \($0)\n" }.joined(), to: STDERR_FILENO)
            exit(64)
        }
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }

    /// The process's environment.
    private static func environment() -> [String: String] {
        var result: [String: String] = [:]
        // Proof: read once at start, before any thread could change it.
        var entry = unsafe environ
        while let line = unsafe entry.pointee {
            let text = unsafe String(cString: line)
            if let separator = text.firstIndex(of: "=") {
                result[String(text[..<separator])] = String(text[text.index(after: separator)...])
            }
            unsafe entry += 1
        }
        return result
    }
}
