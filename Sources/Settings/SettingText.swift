/// As a shell reads it back.
func quoted(_ text: String) -> String {
    let isPlain = text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), 48...57: true
        default: "_-./:,@%+=".utf8.contains(byte)
        }
    }
    return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
}

/// The one of `candidates` that takes the fewest edits to become `text`.
func nearestName(to text: String, among candidates: [String]) -> String {
    candidates.min { distance(text, $0) < distance(text, $1) } ?? ""
}

/// Levenshtein's edit distance.
func distance(_ left: String, _ right: String) -> Int {
    let left = Array(left.utf8)
    let right = Array(right.utf8)
    var row = Array(0...right.count)
    for (i, a) in left.enumerated() {
        var previous = row[0]
        row[0] = i + 1
        for (j, b) in right.enumerated() {
            let insertionOrDeletion = min(row[j], row[j + 1]) + 1
            let substitution = previous + (a == b ? 0 : 1)
            previous = row[j + 1]
            row[j + 1] = min(insertionOrDeletion, substitution)
        }
    }
    return row[right.count]
}
