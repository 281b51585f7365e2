import GRPCRuntime
import ProtobufWire
import RideAPI
import RideDomain

/// Calls: which units go into which, how many are under way, and what becomes of their answers.
extension DriverFeed {
    private var limits: FeedLimits { configuration.limits }

    // MARK: Rounds

    /// A round at `due`, unless an earlier one is planned.
    func plan(_ due: UInt64) {
        guard !isClosed else { return }
        let earliest = max(due, lastRound == 0 || due == 0 ? 0 : lastRound + limits.roundSpacing, loop.now)
        guard earliest < roundAt else { return }
        roundAt = earliest
        if let roundTimer { loop.cancel(roundTimer) }
        roundTimer = nil
        if earliest <= loop.now {
            // After all records of this turn.
            loop.execute { [weak self] in
                guard let self, roundAt <= loop.now else { return }
                beginRound()
            }
        } else {
            roundTimer = loop.schedule(after: earliest - loop.now) { [weak self] in self?.beginRound() }
        }
    }

    /// Everything that is due becomes ready; the rest waits for another round.
    private func beginRound() {
        guard !isClosed else { return }
        roundAt = .max
        if let roundTimer { loop.cancel(roundTimer) }
        roundTimer = nil
        lastRound = loop.now
        var rest: [FeedUnit] = []
        var next = UInt64.max
        for unit in waiting {
            guard unit.isWatched else {
                unit.isDirty = false
                continue
            }
            guard unit.due <= loop.now else {
                rest.append(unit)
                next = min(next, unit.due)
                continue
            }
            unit.isTaken = true
            if unit.tile != nil { readyTiles.append(unit) } else { readyExact.append(unit) }
        }
        waiting = rest
        if next != .max { plan(next) }
        call()
    }

    /// Makes as many calls as there is room for. Tiles and views of their own have rooms of their own, so that neither waits for
    /// the other.
    private func call() {
        guard !isClosed else { return }
        // Units that nobody watches any more leave the queues here, perhaps the last of them.
        defer { showCounts() }
        if snapshot.isStale {
            // One question at a time finds out whether it is back.
            guard loop.now >= awayUntil else { return plan(awayUntil) }
            guard tileCalls + exactCalls == 0 else { return }
        }
        while tileCalls < (snapshot.isStale ? 1 : limits.tileCalls) {
            let batch = nextTiles()
            if batch.isEmpty { break }
            askTiles(batch)
        }
        while exactCalls < limits.exactCalls, !readyExact.isEmpty, !snapshot.isStale || tileCalls + exactCalls == 0 {
            guard loop.now >= exactRestsUntil, let unit = readyExact.popFirst() else {
                plan(exactRestsUntil)
                break
            }
            if unit.isWatched { askExact(unit) } else { unit.release() }
        }
    }

    /// The tiles of one call.
    private func nextTiles() -> [FeedUnit] {
        var batch: [FeedUnit] = []
        var expected = 0
        var company = limits.tilesPerCall
        while let unit = readyTiles.first, batch.count < company {
            guard unit.isWatched else {
                _ = readyTiles.popFirst()
                unit.release()
                continue
            }
            // A new one brings a few, one that was too full none.
            let drivers = unit.state.snapshot?.drivers.count ?? 16
            if !batch.isEmpty && (expected + drivers > limits.driversPerCall || unit.company <= batch.count) { break }
            _ = readyTiles.popFirst()
            company = min(company, unit.company)
            expected += drivers
            batch.append(unit)
        }
        return batch
    }

    /// Notes that a call for `unit` begins.
    private func begin(_ unit: FeedUnit) -> (cause: Int64, previousFetch: UInt64) {
        let previous = unit.isPollAlone ? unit.lastFetch : loop.now
        let cause = unit.cause
        unit.isDirty = false
        unit.isPollAlone = false
        unit.cause = 0
        unit.lastFetch = loop.now
        unit.retryAt = 0
        return (cause, previous)
    }

    private func askTiles(_ batch: [FeedUnit]) {
        let began = loop.preciseNow()
        let notes = batch.map { begin($0) }
        tileCalls += 1
        metrics.fetches.increment()
        let boxes = batch.compactMap { $0.tile?.box }
        source.listDrivers(in: boxes, maximumDrivers: limits.driversPerView) { [weak self] result in
            guard let self, !isClosed else { return }
            metrics.duration.observe(nanoseconds: loop.preciseNow() - began)
            switch result {
            case .success(let answer) where answer.areas.count == batch.count:
                answered()
                let parts = batch.indices.map { place in
                    FeedArrival.Part(
                        unit: batch[place], fields: DriverFields(bytes: answer.areas[place].drivers),
                        outcome: answer.areas[place].outcome, isTruncated: false, cause: notes[place].cause,
                        previousFetch: notes[place].previousFetch)
                }
                arrivals.append(
                    FeedArrival(
                        parts: parts, revision: answer.revision, asOf: instant(answer.asOf), isExact: false))
            case .success(let answer):
                let words = "\(answer.areas.count) areas were answered and \(batch.count) were asked for"
                failed(batch, notes.map(\.cause), RPCError(code: .internal, message: words), began: began)
                tileCalls -= 1
            case .failure(let error):
                failed(batch, notes.map(\.cause), error, began: began)
                tileCalls -= 1
            }
            readArrivals()
            call()
        }
    }

    private func askExact(_ unit: FeedUnit) {
        guard case .exact(let query) = unit.unit else { return }
        let began = loop.preciseNow()
        let note = begin(unit)
        exactAreDirty = false
        exactCalls += 1
        metrics.exactFetches.increment()
        source.find(query) { [weak self] result in
            guard let self, !isClosed else { return }
            let took = loop.preciseNow() - began
            metrics.duration.observe(nanoseconds: took)
            exactRestsUntil = loop.now + took
            switch result {
            case .success(let answer):
                answered()
                let part = FeedArrival.Part(
                    unit: unit, fields: DriverFields(bytes: answer.drivers), outcome: .unspecified,
                    isTruncated: answer.isTruncated, cause: note.cause, previousFetch: note.previousFetch)
                arrivals.append(
                    FeedArrival(
                        parts: [part], revision: answer.revision, asOf: instant(answer.asOf), isExact: true))
            case .failure(let error):
                failed([unit], [note.cause], error, began: began)
                exactCalls -= 1
            }
            readArrivals()
            call()
        }
    }

    // MARK: Answers

    private func instant(_ asOf: Google_Protobuf_Timestamp?) -> Int64 {
        asOf?.unixMilliseconds ?? loop.wallClockMilliseconds
    }

    /// The driver service can be reached.
    private func answered() {
        lastAnswer = loop.preciseNow()
        guard snapshot.isStale else { return }
        snapshot.isStale = false
        log.info("the driver service answers again")
        everythingIsDirty(isPoll: false)
        schedulePoll()
    }

    /// Reads answers, and forgets what nobody watches, as long as this turn allows.
    func readArrivals() {
        // A unit of its name may be there again: nothing is put into that before this one has gone.
        if let unit = removing {
            guard units.remove(unit, budget) else { return showCounts() }
            removing = nil
        }
        var hasRoom = false
        while !isClosed, !arrivals.isEmpty, budget.mayGoOn(), var arrival = arrivals.popFirst() {
            read(&arrival)
            guard arrival.next == arrival.parts.count else {
                arrivals.putBack([arrival])
                continue
            }
            hasRoom = true
            if arrival.isExact { exactCalls -= 1 } else { tileCalls -= 1 }
            if arrival.revision >= snapshot.version {
                snapshot.version = arrival.revision
                snapshot.asOf = arrival.asOf
            }
            deliver(arrival.changed)
        }
        while !leaving.isEmpty, budget.mayGoOn(), let unit = leaving.popFirst() {
            budget.spend(1)
            if !units.remove(unit, budget) { removing = unit }
        }
        if hasRoom { call() } else { showCounts() }
    }

    private func read(_ arrival: inout FeedArrival) {
        while arrival.next < arrival.parts.count {
            guard budget.mayGoOn() else { return }
            let part = arrival.next
            guard arrival.parts[part].put != nil || readDrivers(&arrival.parts[part], isExact: arrival.isExact),
                finish(part, &arrival)
            else { continue }
            arrival.parts[part].drivers = []
            arrival.parts[part].put = nil
        }
    }

    /// Reads a part's drivers. False: the turn is over before its end.
    private func readDrivers(_ part: inout FeedArrival.Part, isExact: Bool) -> Bool {
        budget.spend(1)
        guard part.unit.isWatched, part.outcome == .unspecified else { return true }
        let old = part.unit.state.snapshot?.drivers ?? []
        while budget.mayGoOn() {
            let place = part.expected
            if place < old.count, part.fields.take(ifEqual: old[place].message) {
                part.drivers.append(old[place])
                part.expected += 1
                // Comparing is a small part of reading.
                if place & 7 == 0 { budget.spend(1) }
                continue
            }
            guard let message = part.fields.next(dropsDistance: isExact) else { return true }
            budget.spend(1)
            guard let driver = units.driver(message) else { continue }
            part.drivers.append(driver)
            // Tiles are in the order of ids: those before this one have gone.
            while part.expected < old.count, !isExact, old[part.expected].id < driver.id { part.expected += 1 }
            if part.expected < old.count, old[part.expected].id == driver.id || isExact { part.expected += 1 }
        }
        return false
    }

    /// A part is read: its unit looks like this now. False: the turn is over before that.
    private func finish(_ number: Int, _ arrival: inout FeedArrival) -> Bool {
        let unit = arrival.parts[number].unit
        let (cause, outcome) = (arrival.parts[number].cause, arrival.parts[number].outcome)
        guard unit.isWatched || arrival.parts[number].put != nil else {
            arrival.next += 1
            unit.release()
            return true
        }
        var (isFailing, isTooFull) = (false, false)
        switch outcome {
        case .unspecified where unit.tile == nil || arrival.parts[number].drivers.count <= limits.driversPerView: break
        case .unspecified, .tooMany: isTooFull = true
        case .notReached where number > 0:
            // Its turn is the next call.
            arrival.next += 1
            unit.isTaken = false
            askAgain(unit, cause)
            return true
        // What there is of it stays.
        case .notReached, .failed, .UNRECOGNIZED: (isFailing, isTooFull) = (true, unit.state.isTooFull)
        }
        var changed: [FeedUnit] = []
        if !isFailing, !isTooFull {
            guard let new = put(&arrival.parts[number], revision: arrival.revision) else { return false }
            changed = new
        }
        arrival.next += 1
        unit.isTaken = false
        var looksNew = (unit.state.isFailing, unit.state.isTooFull) != (isFailing, isTooFull)
        (unit.state.isFailing, unit.state.isTooFull) = (isFailing, isTooFull)
        if isFailing {
            fail(unit, cause)
        } else {
            unit.company = arrival.parts.count >= limits.tilesPerCall / 2 ? .max : arrival.parts.count * 2
        }
        for other in changed where other !== unit { arrival.changed.append((other, cause)) }
        if changed.contains(where: { $0 === unit }) { looksNew = true }
        if looksNew {
            arrival.changed.append((unit, cause))
        } else if !isFailing {
            unit.lastFetch = arrival.parts[number].previousFetch
        }
        if unit.isDirty { wait(unit) }
        return true
    }

    /// Puts a part's drivers into its unit. Nil: the turn is over before the end.
    private func put(_ part: inout FeedArrival.Part, revision: UInt64) -> [FeedUnit]? {
        var progress = part.put ?? units.beginPut(part.drivers.count)
        // Nobody else holds its arrays: they grow in place.
        part.put = nil
        let changed = units.put(
            &progress, part.drivers, isTruncated: part.isTruncated, into: part.unit, revision: revision, budget)
        part.put = progress
        return changed
    }

    // MARK: Failures

    /// Asks for `unit` in the next call.
    private func askAgain(_ unit: FeedUnit, _ cause: Int64) {
        unit.isDirty = true
        if unit.cause == 0 { unit.cause = cause }
        unit.isTaken = true
        readyTiles.append(unit)
    }

    /// The unit can't be had now: what there is of it may be old.
    private func fail(_ unit: FeedUnit, _ cause: Int64) {
        metrics.failedUnits.increment()
        unit.state.isFailing = true
        unit.isDirty = true
        if unit.cause == 0 { unit.cause = cause }
        unit.retryAt = loop.now + UInt64(configuration.anxiousPollInterval) * 1_000_000
    }

    private func wait(_ unit: FeedUnit) {
        waiting.append(unit)
        plan(unit.due)
    }

    private func failed(_ batch: [FeedUnit], _ causes: [Int64], _ error: RPCError, began: UInt64) {
        metrics.failures.increment()
        let isAway = error.code == .unavailable || (error.code == .deadlineExceeded && lastAnswer < began)
        if isAway { return away(batch, causes, error) }
        if lastFailureLog == 0 || loop.now - lastFailureLog > 10_000_000_000 {
            lastFailureLog = loop.now
            log.warning("a call for \(batch.count) parts of the map failed; views over them may be stale: \(error)")
        }
        // Which of many it is that can't be answered shows when they are asked for apart.
        let isAlone = batch.count == 1
        var changed: [(unit: FeedUnit, cause: Int64)] = []
        for (unit, cause) in zip(batch, causes) {
            guard unit.isWatched else {
                unit.release()
                continue
            }
            unit.isTaken = false
            unit.company = max(1, batch.count / 2)
            if isAlone && error.code == .resourceExhausted && unit.tile != nil {
                // One tile alone is more than an answer holds.
                unit.state.isTooFull = true
                changed.append((unit, cause))
            } else if isAlone || error.code == .deadlineExceeded {
                if !unit.state.isFailing { changed.append((unit, 0)) }
                fail(unit, cause)
                wait(unit)
            } else {
                askAgain(unit, cause)
            }
        }
        if !changed.isEmpty { deliver(changed) }
    }

    /// The driver service can't be reached: every list stays as it is.
    private func away(_ batch: [FeedUnit], _ causes: [Int64], _ error: RPCError) {
        for (unit, cause) in zip(batch, causes) {
            guard unit.isWatched else {
                unit.release()
                continue
            }
            unit.isTaken = false
            unit.isDirty = true
            if unit.cause == 0 { unit.cause = cause }
            unit.retryAt = 0
            waiting.append(unit)
        }
        awayUntil = loop.now + UInt64(configuration.anxiousPollInterval) * 1_000_000
        plan(awayUntil)
        guard !snapshot.isStale else { return }
        log.warning("the driver service can't be asked for live lists; they stay as they are: \(error)")
        snapshot.isStale = true
        if snapshot.asOf == 0 { snapshot.asOf = loop.wallClockMilliseconds }
        schedulePoll()
        deliver([])
    }
}
