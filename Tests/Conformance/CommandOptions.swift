/// The options of a command line: `--name=value`, or `--name` alone, which is true. Of an option that is given twice the last counts.
struct CommandOptions {
    private var values: [Substring: Substring] = [:]

    init(_ arguments: ArraySlice<String>) {
        for argument in arguments where argument.hasPrefix("--") {
            let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            values[parts[0]] = parts.count == 2 ? parts[1] : "true"
        }
    }

    /// Nil: it is not given, or empty.
    func text(_ name: Substring) -> String? { values[name].flatMap { $0.isEmpty ? nil : String($0) } }

    /// Nil: it is not given, or no number of that type.
    func number<Number: FixedWidthInteger>(_ name: Substring) -> Number? { values[name].flatMap { Number($0) } }

    /// Whether it is given, and not as false.
    func flag(_ name: Substring) -> Bool { values[name].map { $0 != "false" } ?? false }
}
