import Glibc
import TestSupport
import Testing

/// Behaviours 54 and 55 with real programs: what a stop leaves, who may have a database, what a failing disk looks like from
/// outside, and what a restored backup does.
@Suite(.serialized, .enabled(if: Fleet.isBuilt, "skipped: the programs are not built beside the tests"))
struct DatabaseTests {
    /// Rows by `sqlite3`, of one file alone.
    private func rows(_ path: String, _ table: String) throws -> Int? {
        let folder = TemporaryFolder()
        _ = try ChildProcess.run("/bin/cp", [path, folder.file("alone.db")])
        let result = try ChildProcess.run("sqlite3", [folder.file("alone.db"), "SELECT count(*) FROM \(table)"])
        return Int(result.output.split(separator: "\n").first ?? "")
    }

    private func register(_ count: Int, _ cabstand: RunningCabstand) {
        let connection = HTTPConnection(port: cabstand.port)
        for number in 0..<count {
            let answer = connection.request(
                "POST", "/drivers",
                #"{"id":"d\#(number)","name":"D","lat":52.5,"lon":13.4,"vehicle":{"make":"M","model":"M","color":"c","#
                    + #""plate":"P","category":"standard"}}"#)
            // 200: he is there from before.
            #expect([200, 201].contains(answer?.status), "\(answer?.body ?? "no answer")")
        }
    }

    @discardableResult
    private func book(_ rider: String, _ driver: String, _ cabstand: RunningCabstand) -> HTTPConnection.Response? {
        HTTPConnection(port: cabstand.port).request(
            "POST", "/trips",
            #"{"rider_id":"\#(rider)","driver_id":"\#(driver)","pickup":{"lat":52.5,"lon":13.4},"#
                + #""dropoff":{"lat":52.6,"lon":13.4}}"#)
    }

    // MARK: A clean stop

    @Test(.enabled(if: Tool.find("sqlite3") != nil, "needs sqlite3"))
    func behaviour54_aCleanStopLeavesOneCompleteFileOfEachService() throws {
        let cabstand = try RunningCabstand()
        for round in 0..<3 {
            register(4, cabstand)
            book("r\(round)", "d\(round)", cabstand)
            #expect(cabstand.terminate() == 0, "\(cabstand.words.suffix(2000))")
            #expect(TemporaryFolder.names(cabstand.dataFolder) == ["driver.db", "trip.db"])
            #expect(try rows(cabstand.database("driver"), "drivers") == 4)
            #expect(try rows(cabstand.database("trip"), "trips") == round + 1)
            try cabstand.restart()
        }
    }

    @Test func behaviour54_aStartThatFailsLeavesNoLogEither() throws {
        let cabstand = try RunningCabstand()
        let folder = TemporaryFolder()
        let result = try ChildProcess.run(
            Tool.program("cabstand"),
            environment: [
                // Both services are up when the gateway finds its port taken.
                "CABSTAND_HTTP_PORT": "\(cabstand.port)", "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(freePort())",
                "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(freePort())",
                "CABSTAND_DATABASE_URL": "sqlite:" + folder.file("data"),
                "CABSTAND_PUBLIC_DIR": Tool.repository + "/public",
            ], timeout: 60)
        #expect(result.status == 1)
        #expect(result.errors.contains("CABSTAND_HTTP_PORT chooses another port"), "\(result.errors)")
        #expect(TemporaryFolder.names(folder.file("data")) == ["driver.db", "trip.db"])
    }

    // MARK: Two programs on one file

    @Test func behaviour54_aSecondProgramOnTheSameFileIsRefusedByName() throws {
        let cabstand = try RunningCabstand()
        let folder = TemporaryFolder()
        unsafe symlink(cabstand.database("trip"), folder.file("symbolic.db"))
        unsafe link(cabstand.database("trip"), folder.file("hard.db"))
        for path in [cabstand.database("trip"), folder.file("symbolic.db"), folder.file("hard.db")] {
            let result = try ChildProcess.run(
                Tool.program("trip"),
                environment: ["CABSTAND_DATABASE_URL": "sqlite:\(path)", "CABSTAND_GRPC_PORT": "\(freePort())"],
                timeout: 30)
            #expect(result.status == 1)
            #expect(
                result.errors.contains("\(path) is in use by process \(cabstand.child.pid) (cabstand)"),
                "\(result.errors)"
            )
            #expect(result.errors.contains("CABSTAND_DATABASE_URL"))
        }
        // kill −9 leaves no lock.
        cabstand.kill()
        try cabstand.restart()
        #expect(cabstand.terminate() == 0)
    }

    @Test func behaviour54_aFileOfAnotherServiceIsRefused() throws {
        let cabstand = try RunningCabstand()
        #expect(cabstand.terminate() == 0)
        let result = try ChildProcess.run(
            Tool.program("trip"),
            environment: [
                "CABSTAND_DATABASE_URL": "sqlite:\(cabstand.database("driver"))", "CABSTAND_GRPC_PORT": "\(freePort())",
            ], timeout: 30)
        #expect(result.status == 1)
        #expect(result.errors.contains("belongs to another service"), "\(result.errors)")
    }

    // MARK: A disk that fails

    /// The program may not let a file grow: what a full disk is to it.
    @Test(.enabled(if: Tool.find("prlimit") != nil, "needs prlimit"))
    func behaviour55_aFullDiskIsSaidInPlainWordsAndPassesByItself() throws {
        let cabstand = try RunningCabstand()
        register(2, cabstand)
        let probe = HTTPConnection(port: cabstand.port)
        // From now on, and back. The log of the trip database is larger already, the program's own lines are not.
        func limit(_ bytes: String) throws {
            let result = try ChildProcess.run("prlimit", ["--pid", "\(cabstand.child.pid)", "--fsize=\(bytes)"])
            #expect(result.status == 0, "\(result.errors)")
        }
        try limit("40000:unlimited")
        let answer = book("r1", "d0", cabstand)
        #expect(answer?.status == 503)
        #expect(answer?.text("code") == "backend-unavailable")
        #expect(answer?.head.lowercased().contains("retry-after: ") == true)
        #expect(
            answer?.body.contains("SQLite") == false && answer?.body.contains("disk") == false, "\(answer?.body ?? "")")
        #expect(
            waitUntil(10) { probe.request("GET", "/readyz")?.body.contains("\"trip_database\":\"The disk") == true })
        #expect(probe.request("GET", "/readyz")?.status == 200)
        #expect(cabstand.words.contains("the database fails"))
        // Lists and what is known already go on.
        #expect(probe.request("GET", "/drivers/available?lat=52.5&lon=13.4")?.status == 200)
        try limit("unlimited:unlimited")
        #expect(waitUntil(10) { probe.request("GET", "/readyz")?.text("status") == "ok" })
        #expect(book("r1", "d0", cabstand)?.status == 201)
        #expect(cabstand.terminate() == 0)
        #expect(TemporaryFolder.names(cabstand.dataFolder) == ["driver.db", "trip.db"])
    }

    @Test func behaviour55_aFileThatWasMovedAwayIsNoticedAndTakesNoBooking() throws {
        let cabstand = try RunningCabstand()
        register(2, cabstand)
        let probe = HTTPConnection(port: cabstand.port)
        unsafe rename(cabstand.database("trip"), cabstand.database("elsewhere"))
        // Nobody writes: the look notices it.
        #expect(
            waitUntil(20) {
                probe.request("GET", "/readyz")?.body.contains("deleted, moved or replaced") == true
            })
        #expect(book("r1", "d0", cabstand)?.status == 503)
        unsafe rename(cabstand.database("elsewhere"), cabstand.database("trip"))
        #expect(waitUntil(10) { probe.request("GET", "/readyz")?.text("status") == "ok" })
        #expect(book("r1", "d0", cabstand)?.status == 201)
        #expect(cabstand.terminate() == 0)
    }

    // MARK: A restored backup

    /// The trip database goes back to an older copy, whose numbers then overtake what the driver service had seen: every
    /// driver is right all the same.
    @Test func behaviour54_driversAreRightAfterARestoreWhoseNumbersOvertakeTheOld() throws {
        let cabstand = try RunningCabstand()
        register(6, cabstand)
        let probe = HTTPConnection(port: cabstand.port)
        func status(_ driver: Int) -> String { probe.request("GET", "/drivers/d\(driver)")?.text("status") ?? "" }
        book("r0", "d0", cabstand)
        #expect(cabstand.terminate() == 0)
        let backup = TemporaryFolder()
        _ = try ChildProcess.run("/bin/cp", [cabstand.database("trip"), backup.file("trip.db")])
        // What the copy does not know: d1 is booked and stays so, d2 comes and goes, many times, which uses numbers up.
        try cabstand.restart()
        book("r1", "d1", cabstand)
        for _ in 0..<10 {
            let trip = book("r2", "d2", cabstand)?.text("id") ?? ""
            _ = HTTPConnection(port: cabstand.port).request("POST", "/trips/\(trip)/cancel")
        }
        let last = book("r2", "d2", cabstand)?.text("id") ?? ""
        #expect(!last.isEmpty)
        #expect(waitUntil(10) { status(1) == "unavailable" && status(2) == "unavailable" })
        #expect(cabstand.terminate() == 0)
        // Restored. The driver service's own file is as it was at the end.
        _ = try ChildProcess.run("/bin/cp", [backup.file("trip.db"), cabstand.database("trip")])
        try cabstand.restart()
        #expect(waitUntil(20) { status(0) == "unavailable" && status(1) == "available" && status(2) == "available" })
        // The same numbers again, for other trips: d3 to be booked at a number below d2's last one, and d2 again.
        #expect(book("r3", "d3", cabstand)?.status == 201)
        #expect(book("r4", "d2", cabstand)?.status == 201)
        #expect(waitUntil(10) { status(3) == "unavailable" && status(2) == "unavailable" })
        let list = HTTPConnection(port: cabstand.port).request("GET", "/trips?driver_id=d2&status=in_progress")
        let trip = list?.body.firstMatch(of: /"id":"([^"]+)"/).map { String($0.1) } ?? ""
        _ = HTTPConnection(port: cabstand.port).request("POST", "/trips/\(trip)/complete")
        #expect(waitUntil(10) { status(2) == "available" })
        #expect(cabstand.terminate() == 0)
    }
}
