import Glibc
import Reactor
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import HTTPServer

@Suite struct ChangingFiles {
    @Test func aSavedFileIsServedWithAnotherTag() throws {
        let world = try World(["app.js": "one"])
        let first = world.get("app.js")
        world.folder.write("public/app.js", "two")
        #expect(world.shows("app.js", "two"))
        let answer = world.get("app.js", "If-None-Match: \(first.field("etag") ?? "none")\r\n")
        #expect(answer.status == 200)
        #expect(answer.field("etag") != first.field("etag"))
        // A browser that reloads asks each time.
        #expect(answer.field("cache-control") == "no-cache")
        #expect(world.get("app.js", "If-None-Match: \(answer.field("etag") ?? "")\r\n").status == 304)
    }

    /// tar and cp -p set times of long ago; only the inode's change time tells.
    @Test func aFileOfTheSameSizeAndTimeIsServed() throws {
        let world = try World(["app.js": "one"])
        let path = world.folder.file("public/app.js")
        let times = [timespec(tv_sec: 1_000_000_000, tv_nsec: 0), timespec(tv_sec: 1_000_000_000, tv_nsec: 0)]
        unsafe utimensat(AT_FDCWD, path, times, 0)
        #expect(waitUntil(5) { world.get("app.js").field("last-modified") == "Sun, 09 Sep 2001 01:46:40 GMT" })
        world.folder.write("public/app.js", "two")
        unsafe utimensat(AT_FDCWD, path, times, 0)
        #expect(world.shows("app.js", "two"))
    }

    @Test func anEditorThatSavesByRenaming() throws {
        let world = try World(["app.js": "one"])
        world.folder.write("public/.app.js.swp", "three")
        world.folder.write("public/app.js~", "two")
        rename(world, "public/app.js~", "public/app.js")
        #expect(world.shows("app.js", "two"))
        #expect(world.get("app.js~").status == 404)
        #expect(world.get(".app.js.swp").status == 404)
    }

    @Test func newFoldersAndWhatComesIntoThem() throws {
        let world = try World([:])
        world.makeFolder("public/a")
        world.makeFolder("public/a/b")
        world.folder.write("public/a/b/at-once.js", "1")
        #expect(world.shows("a/b/at-once.js", "1"))
        world.folder.write("public/a/b/later.js", "2")
        #expect(world.shows("a/b/later.js", "2"))
        world.folder.write("public/a/b/later.js", "3")
        #expect(world.shows("a/b/later.js", "3"))
    }

    @Test func deletedFilesAndFoldersAreGone() throws {
        let world = try World(["app.js": "one", "rest.js": "rest"], folders: ["a"])
        world.folder.write("public/a/b.js", "b")
        #expect(world.shows("a/b.js", "b"))
        unsafe unlink(world.folder.file("public/app.js"))
        #expect(waitUntil(5) { world.get("app.js").status == 404 })
        rename(world, "public/a", "elsewhere")
        #expect(waitUntil(5) { world.get("a/b.js").status == 404 })
        #expect(world.get("rest.js").body == "rest")
        // What happens to it there is nobody's business here.
        let before = world.publications
        world.folder.write("elsewhere/b.js", "c")
        world.folder.write("public/rest.js", "more")
        #expect(world.shows("rest.js", "more"))
        #expect(world.publications == before + 1)
    }

    @Test func linksThatLeadOutAreNotFollowed() throws {
        let world = try World(["app.js": "one"], folders: ["a"])
        world.folder.write("secret", "secret")
        world.link("public/link.js", to: world.folder.file("secret"))
        world.link("public/a/relative.js", to: "../../secret")
        world.link("public/over.js", to: "../public/../secret")
        world.link("public/.way", to: "..")
        world.link("public/hidden.js", to: ".way/secret")
        world.link("public/up", to: world.folder.path)
        world.link("public/back", to: "..")
        world.link("link", to: world.folder.file("secret"))
        rename(world, "link", "public/app.js")
        #expect(waitUntil(5) { world.get("app.js").status == 404 })
        for path in ["link.js", "a/relative.js", "over.js", "hidden.js", "up/secret", "back/secret"] {
            #expect(world.get(path).status == 404, "\(path)")
        }
        #expect(world.said("path=/link.js reason=\"it is a link that leads out of the folder\"") == 1)
    }

    /// As Kubernetes mounts a ConfigMap, and exchanges it (AtomicWriter).
    @Test func aMountOfLinksIsServedAndExchangedAsAWhole() throws {
        let torn = Mutex<[String]>([])
        let world = try World(
            [:],
            onFiles: { files in
                let texts = ["/index.html", "/app.js", "/docs/a.js"].map { path in
                    files.files[path].map {
                        $0.content.withSpan {
                            String(decoding: unsafe $0.withUnsafeBufferPointer { unsafe Array($0) }, as: UTF8.self)
                        }
                    } ?? "none"
                }
                if Set(texts).count != 1 { torn.withLock { $0.append("\(texts)") } }
            },
            prepare: { folder in
                Self.exchange(folder, "1")
                for name in ["index.html", "app.js", "docs"] {
                    unsafe symlink("..data/" + name, folder.file("public/" + name))
                }
            })
        #expect(world.get("").body == "1")
        #expect(world.get("docs/a.js").body == "1")
        let before = world.publications
        Self.exchange(world.folder, "2", after: "1")
        #expect(world.shows("app.js", "2"))
        #expect(world.get("").body == "2")
        #expect(world.publications == before + 1)
        #expect(world.get("..data/app.js").status == 404)
        #expect(world.get("..2/app.js").status == 404)
        for count in 3...30 { Self.exchange(world.folder, "\(count)", after: "\(count - 1)") }
        #expect(world.shows("app.js", "30"))
        #expect(torn.withLock { $0 } == [])
        // What is written where links lead is seen, too.
        world.folder.write("public/..30/app.js", "31")
        #expect(world.shows("app.js", "31"))
    }

    private static func exchange(_ folder: TemporaryFolder, _ name: String, after old: String? = nil) {
        unsafe mkdir(folder.file("public/..\(name)"), 0o755)
        unsafe mkdir(folder.file("public/..\(name)/docs"), 0o755)
        for file in ["index.html", "app.js", "docs/a.js"] { folder.write("public/..\(name)/\(file)", name) }
        unsafe symlink("..\(name)", folder.file("public/..data_tmp"))
        unsafe Glibc.rename(folder.file("public/..data_tmp"), folder.file("public/..data"))
        guard let old else { return }
        for file in ["index.html", "app.js", "docs/a.js"] { unsafe unlink(folder.file("public/..\(old)/\(file)")) }
        unsafe rmdir(folder.file("public/..\(old)/docs"))
        unsafe rmdir(folder.file("public/..\(old)"))
    }

    @Test func linksWithinTheFolder() throws {
        let world = try World(["app.js": "one"], folders: ["a", "a/b"])
        world.folder.write("public/a/b/c.js", "c")
        world.link("public/same.js", to: "app.js")
        world.link("public/a/b/up.js", to: "../../same.js")
        world.link("public/whole.js", to: world.folder.file("public/a/b/c.js"))
        world.link("public/short", to: "a/b")
        world.link("public/later.js", to: ".store/later.js")
        world.link("public/around", to: ".")
        world.link("public/a/circle", to: "circle")
        #expect(world.shows("same.js", "one"))
        #expect(world.shows("a/b/up.js", "one"))
        #expect(world.shows("whole.js", "c"))
        #expect(world.shows("short/c.js", "c"))
        #expect(world.says("path=/around/ reason=\"it is a link to a folder that it lies in\""))
        #expect(world.says("path=/a/circle reason=\"it is a link over more than 40 others\""))
        #expect(world.get("later.js").status == 404)
        #expect(world.said("path=/later.js reason=\"it is a link that leads to nothing\"") == 1)
        world.makeFolder("public/.store")
        world.folder.write("public/.store/later.js", "later")
        #expect(world.shows("later.js", "later"))
        world.folder.write("public/.store/later.js", "latest")
        #expect(world.shows("later.js", "latest"))
        unsafe unlink(world.folder.file("public/.store/later.js"))
        #expect(waitUntil(5) { world.get("later.js").status == 404 })
    }

    /// `ln -sfn` and rename: how releases are exchanged.
    @Test func theFolderItselfIsALinkThatIsExchanged() throws {
        let world = try World(
            [:],
            prepare: { folder in
                for name in ["1", "2"] {
                    unsafe mkdir(folder.file(name), 0o755)
                    folder.write(name + "/app.js", name)
                }
                unsafe rmdir(folder.file("public"))
                unsafe symlink("1", folder.file("public"))
            })
        #expect(world.get("app.js").body == "1")
        world.link("next", to: "2")
        rename(world, "next", "public")
        #expect(world.shows("app.js", "2"))
        world.folder.write("2/app.js", "3")
        #expect(world.shows("app.js", "3"))
    }

    @Test func aHundredQuickSavesAreFewReadings() throws {
        let world = try World(["app.js": "0"])
        for count in 1...100 { world.folder.write("public/app.js", "\(count)") }
        #expect(world.shows("app.js", "100"))
        #expect(world.publications < 50)
    }

    @Test func droppedEventsAreMadeUpFor() throws {
        // More events than the kernel keeps (fs.inotify.max_queued_events), before anybody reads them.
        let queue = Int(TemporaryFolder.read("/proc/sys/fs/inotify/max_queued_events").prefix { $0.isNumber }) ?? 16384
        let world = try World(
            ["a.js": "0", "b.js": "0", "late.js": "one"],
            before: { folder in
                for count in 0...queue {
                    unsafe chmod(folder.file(count % 2 == 0 ? "public/a.js" : "public/b.js"), 0o600)
                }
                folder.write("public/late.js", "two")
            })
        #expect(world.shows("late.js", "two"))
    }

    @Test func theFolderItselfIsExchanged() throws {
        let world = try World(["app.js": "one", "old.js": "old"])
        rename(world, "public", "public.old")
        #expect(world.says("path=\(world.folder.path)/public reason=\"the folder can't be read: No such file"))
        #expect(world.get("app.js").body == "one")
        world.makeFolder("public.new")
        world.folder.write("public.new/app.js", "two")
        rename(world, "public.new", "public")
        #expect(world.shows("app.js", "two"))
        #expect(world.get("old.js").status == 404)
        world.folder.write("public/app.js", "three")
        #expect(world.shows("app.js", "three"))
    }
}

@Suite struct FilesThatCannotBeServed {
    @Test func aFileThatIsBeingWrittenKeepsItsForm() throws {
        let world = try World(["app.js": "whole", "other.js": "one"])
        let descriptor = unsafe open(world.folder.file("public/app.js"), O_WRONLY | O_TRUNC)
        unsafe write(descriptor, "ha", 2)
        world.folder.write("public/other.js", "two")
        #expect(world.shows("other.js", "two"))
        #expect(world.get("app.js").body == "whole")
        #expect(world.said("reason=\"it is being written\"") == 1)
        unsafe write(descriptor, "lf", 2)
        world.folder.write("public/other.js", "three")
        #expect(world.shows("other.js", "three"))
        #expect(world.get("app.js").body == "whole")
        close(descriptor)
        #expect(world.shows("app.js", "half"))
        #expect(world.said("reason=\"it is being written\"") == 1)
    }

    @Test func aFileBeyondTheLimitKeepsItsForm() throws {
        var limits = StaticFiles.Limits()
        limits.fileBytes = 1000
        let world = try World(["app.js": "one"], limits: limits)
        world.folder.write("public/app.js", String(repeating: "x", count: 1001))
        world.folder.write("public/new.js", String(repeating: "x", count: 1001))
        world.folder.write("public/small.js", "small")
        #expect(world.shows("small.js", "small"))
        #expect(world.get("app.js").body == "one")
        #expect(world.get("new.js").status == 404)
        #expect(world.said("path=/app.js reason=\"it has more than 1000 bytes\"") == 1)
    }

    @Test func tooMuchOfAllKeepsEverything() throws {
        var limits = StaticFiles.Limits()
        limits.totalBytes = 1000
        let world = try World(["app.js": "one", "other.js": "other"], limits: limits)
        world.folder.write("public/large.js", String(repeating: "x", count: 998))
        world.folder.write("public/app.js", "two")
        #expect(world.says("reason=\"all files together have more than 1000 bytes; all files stay as they were\""))
        #expect(world.get("app.js").body == "one")
        #expect(world.get("large.js").status == 404)
        #expect(world.get("other.js").body == "other")
        unsafe unlink(world.folder.file("public/large.js"))
        #expect(world.shows("app.js", "two"))
    }

    /// A path beyond PATH_MAX: nobody can read it, not even root.
    @Test func aFolderThatCannotBeReadKeepsEverything() throws {
        let world = try World(["app.js": "one"])
        let name = String(repeating: "n", count: 250)
        var deep = "outside"
        world.makeFolder(deep)
        while (world.folder.path + "/" + deep).utf8.count < 4096 - 252 {
            deep += "/" + name
            world.makeFolder(deep)
        }
        world.makeFolder("public/\(name)")
        rename(world, "outside", "public/\(name)/inside")
        defer { rename(world, "public/\(name)/inside", "outside") }
        #expect(world.says("the folder can't be read: File name too long; all files stay as they were"))
        world.folder.write("public/app.js", "two")
        world.folder.write("public/app.js", "three")
        #expect(world.get("app.js").body == "one")
        rename(world, "public/\(name)/inside", "outside")
        #expect(world.shows("app.js", "three"))
        #expect(world.said("File name too long; all files stay as they were") == 1)
    }

    @Test func withoutInotifyFilesStayAsTheyWereAtStart() throws {
        let world = try World(
            ["app.js": "one"],
            events: { () throws(SystemError) in throw SystemError(operation: "inotify_init1", errno: EMFILE) })
        #expect(world.get("app.js").body == "one")
        #expect(world.said("changes of files show after the next start only") == 1)
        world.folder.write("public/app.js", "two")
        #expect(world.get("app.js").body == "one")
    }
}

private func rename(_ world: World, _ old: String, _ new: String) {
    unsafe Glibc.rename(world.folder.file(old), world.folder.file(new))
}

/// A folder, and a server that serves it as it is now.
private final class World: Sendable {
    let folder: TemporaryFolder
    private let server: LiveServer
    private let sink: LogSink
    private let count: Counter

    private final class Counter: Sendable { let value = Atomic<Int>(0) }

    /// - Parameters:
    ///   - files: what is in `public` when it is read.
    ///   - onFiles: told of new files, on the loop.
    ///   - prepare: runs before it is read.
    ///   - before: runs when it is read and watched, before the loop hears of any change.
    init(
        _ files: [String: String], folders: [String] = [], limits: StaticFiles.Limits = .init(),
        events: @escaping @Sendable () throws(SystemError) -> FolderEvents = { () throws(SystemError) in
            try FolderEvents()
        },
        before: @escaping @Sendable (TemporaryFolder) -> Void = { _ in },
        onFiles: @escaping @Sendable (StaticFiles) -> Void = { _ in }, prepare: (TemporaryFolder) -> Void = { _ in }
    ) throws {
        let folder = TemporaryFolder()
        self.folder = folder
        for name in ["public"] + folders.map({ "public/" + $0 }) { unsafe mkdir(folder.file(name), 0o755) }
        for (name, text) in files { folder.write("public/" + name, text) }
        prepare(folder)
        folder.write("log", "")
        sink = LogSink(descriptor: unsafe open(folder.file("log"), O_WRONLY | O_APPEND))
        let logger = Logger(label: "files", sink: sink)
        let count = Counter()
        self.count = count
        server = try LiveServer { loop, router in
            do {
                let live = try LiveFolder(folder.file("public"), limits: limits, logger: logger, events: events)
                before(folder)
                live.watch(on: loop) { files in
                    count.value.add(1, ordering: .relaxed)
                    onFiles(files)
                }
                router.fallback { request, responder in live.files.respond(to: request, responder) }
            } catch {
                Issue.record(error)
            }
        }
    }

    /// How often new files were served.
    var publications: Int { count.value.load(ordering: .relaxed) }

    func link(_ name: String, to target: String) { unsafe symlink(target, folder.file(name)) }

    func makeFolder(_ name: String) { unsafe mkdir(folder.file(name), 0o755) }

    func get(_ path: String, _ fields: String = "") -> String {
        Client(server.port).send("GET /\(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n").response()
    }

    /// Whether the file is soon served with this content.
    func shows(_ path: String, _ content: String) -> Bool {
        waitUntil(10) {
            let answer = get(path)
            return answer.status == 200 && answer.body == content
        }
    }

    /// How many lines of the log have this in them.
    func said(_ text: String) -> Int {
        sink.flush()
        return TemporaryFolder.read(folder.file("log")).split(separator: "\n").count { $0.contains(text) }
    }

    /// Whether the log soon has this.
    func says(_ text: String) -> Bool { waitUntil(10) { said(text) == 1 } }
}
