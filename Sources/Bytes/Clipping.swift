// What is quoted of a text that somebody else has sent. Bytes come first: one character may have any number of code points, and
// whoever counts, compares or cuts by characters walks over all of them.

extension Substring {
    /// The beginning, for a message that quotes it: at most so many characters, and four bytes for each of them. It ends between two
    /// code points. Costs no more for a text of a megabyte than for a short one.
    public func clipped(to characters: Int) -> Substring {
        guard var end = utf8.index(startIndex, offsetBy: 4 * characters, limitedBy: endIndex), end < endIndex else {
            return prefix(characters)
        }
        while end > startIndex, utf8[end] & 0xC0 == 0x80 { end = utf8.index(before: end) }
        return self[..<end].prefix(characters)
    }
}

extension String {
    /// The beginning, for a message that quotes it: at most so many characters, and four bytes for each of them. It ends between two
    /// code points. Costs no more for a text of a megabyte than for a short one.
    public func clipped(to characters: Int) -> Substring { self[...].clipped(to: characters) }

    /// As `clipped(to:)`, with an ellipsis behind it where something is left out.
    public func clippedVisibly(to characters: Int) -> String {
        let beginning = clipped(to: characters)
        return beginning.endIndex == endIndex ? self : beginning + "…"
    }

    /// Whether both are the same bytes. `==` is another question, whether they look the same, and takes a time that grows with the
    /// square of what a stranger may put between two letters.
    public func isSame(as other: String) -> Bool { utf8.count == other.utf8.count && utf8.elementsEqual(other.utf8) }
}
