#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What a reader remembers of the objects and arrays that are open: where it is, and the names it has seen.
///
/// Two blocks of memory, taken when the first object or array opens, small enough for malloc's quick ways: a block of more
/// than a kilobyte would have it sort its free list each time. Inside the reader itself it would be three kilobytes that
/// the compiler moves with each call: reading was six times slower so.
///
/// Proof of `@safe`: the blocks never leave it, it cannot be copied, and each access is checked against what is open.
@safe struct ReaderStack: ~Copyable {
    /// An open object or array.
    struct Level {
        var isObject = false
        /// A member or element has been begun and the comma before the next one is due.
        var started = false
        /// The current member's name.
        var name = JSONText(start: 0, end: 0, isEscaped: false)
        /// The current element's index.
        var index = -1
        /// Number of names when the object began.
        var firstName = 0
    }

    /// A member's name in an open object.
    struct Name {
        var text: JSONText
        /// What is compared before the text.
        var key: UInt64
    }

    static let maximumDepth = 32

    /// Nil until the first one opens.
    private var levels: UnsafeMutablePointer<Level>?
    private var levelCapacity = 0
    private var names: UnsafeMutablePointer<Name>?
    private var nameCapacity = 0
    private(set) var depth = 0
    /// Names of all open objects, the innermost's last.
    private(set) var nameCount = 0

    init() {
        unsafe levels = nil
        unsafe names = nil
    }

    deinit {
        unsafe free(levels)
        unsafe free(names)
    }

    /// The level at `place`, from the outermost.
    subscript(place: Int) -> Level {
        precondition(place >= 0 && place < depth, "no such level")
        return unsafe levels.unsafelyUnwrapped[place]
    }

    /// Opens a level; at most `maximumDepth` are open.
    mutating func open(isObject: Bool) {
        precondition(depth < Self.maximumDepth, "too deep")
        if depth == levelCapacity {
            levelCapacity = max(8, levelCapacity * 2)
            guard let block = unsafe realloc(levels, MemoryLayout<Level>.stride * levelCapacity) else {
                fatalError("out of memory")
            }
            unsafe levels = block.bindMemory(to: Level.self, capacity: levelCapacity)
        }
        unsafe levels.unsafelyUnwrapped[depth] = Level(isObject: isObject, firstName: nameCount)
        depth += 1
    }

    /// Leaves the innermost level and forgets its names.
    mutating func close() {
        precondition(depth > 0, "nothing is open")
        depth -= 1
        nameCount = unsafe levels.unsafelyUnwrapped[depth].firstName
    }

    /// The innermost level goes to its next member.
    mutating func begin(member name: JSONText) {
        precondition(depth > 0, "nothing is open")
        unsafe levels.unsafelyUnwrapped[depth - 1].started = true
        unsafe levels.unsafelyUnwrapped[depth - 1].name = name
    }

    /// The innermost level goes to its next element.
    mutating func beginElement() {
        precondition(depth > 0, "nothing is open")
        unsafe levels.unsafelyUnwrapped[depth - 1].started = true
        unsafe levels.unsafelyUnwrapped[depth - 1].index += 1
    }

    func name(_ place: Int) -> Name {
        precondition(place >= 0 && place < nameCount, "no such name")
        return unsafe names.unsafelyUnwrapped[place]
    }

    mutating func remember(_ name: Name) {
        if nameCount == nameCapacity {
            nameCapacity = max(16, nameCapacity * 2)
            guard let block = unsafe realloc(names, MemoryLayout<Name>.stride * nameCapacity) else {
                fatalError("out of memory")
            }
            unsafe names = block.bindMemory(to: Name.self, capacity: nameCapacity)
        }
        unsafe names.unsafelyUnwrapped[nameCount] = name
        nameCount += 1
    }
}
