import Testing

@testable import Operations

#if canImport(Glibc)
    import Glibc
#endif

/// How a program notices that its certificates were replaced.
@Suite struct WatchedFilesTests {
    private let folder: String

    init() {
        folder = "/tmp/cabstand-watched-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        unsafe mkdir(folder, 0o700)
    }

    private func write(_ name: String, _ text: String) {
        let file = unsafe fopen("\(folder)/\(name)", "w")
        unsafe fputs(text, file)
        unsafe fclose(file)
    }

    private func remove(_ names: String...) {
        for name in names where unsafe unlink("\(folder)/\(name)") != 0 { unsafe rmdir("\(folder)/\(name)") }
        unsafe rmdir(folder)
    }

    @Test func aFileThatIsWrittenOrReplacedIsNoticedOnce() {
        defer { remove("a", "b") }
        write("a", "one")
        let files = WatchedFiles(["\(folder)/a", "\(folder)/b"])
        #expect(!files.haveChanged())
        write("a", "longer")
        #expect(files.haveChanged())
        #expect(!files.haveChanged())
        // As long, as old to the second: another file all the same.
        write("new", "longer")
        unsafe rename("\(folder)/new", "\(folder)/a")
        #expect(files.haveChanged())
        write("b", "it was not there")
        #expect(files.haveChanged())
        #expect(!files.haveChanged())
    }

    @Test func aFileThatIsAwayForAMomentIsNoticedWhenAnotherIsThere() {
        defer { remove("a") }
        write("a", "one")
        let files = WatchedFiles(["\(folder)/a"])
        unsafe unlink("\(folder)/a")
        #expect(!files.haveChanged())
        write("a", "two!")
        #expect(files.haveChanged())
    }

    /// A secret that is mounted is `key.pem -> ..data/key.pem` and `..data -> ..2026_11_28`; an update makes another folder and
    /// sets the link to it.
    @Test func aLinkThatIsSetToAnotherFolderIsNoticed() {
        defer { remove("first/key.pem", "first", "second/key.pem", "second", "..data", "key.pem") }
        for name in ["first", "second"] {
            unsafe mkdir("\(folder)/\(name)", 0o700)
            write("\(name)/key.pem", "the same text")
        }
        unsafe symlink("first", "\(folder)/..data")
        unsafe symlink("..data/key.pem", "\(folder)/key.pem")
        let files = WatchedFiles(["\(folder)/key.pem"])
        #expect(!files.haveChanged())
        unsafe symlink("second", "\(folder)/..new")
        unsafe rename("\(folder)/..new", "\(folder)/..data")
        #expect(files.haveChanged())
        #expect(!files.haveChanged())
    }
}
