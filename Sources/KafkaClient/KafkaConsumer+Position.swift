import CRdKafka
import Reactor

// Where a consumer reads, and whether it may trust that: looks at the cluster, assigned partitions, refused ones.
extension KafkaConsumer {
    // MARK: Looking at the cluster

    private var topicWords: String { "The topic \(topicName)" }

    /// Asks the cluster for its id and the topic's partitions, off the loop; again and again.
    func look() {
        guard !looking, !closed, let topic else { return }
        looking = true
        if let lookTimer { core.loop.cancel(lookTimer) }
        lookTimer = nil
        let limits = core.configuration.limits
        // A broker that hangs does not say so.
        let doubts = core.loop.schedule(after: limits.$doubtAfter) { [weak self] in self?.doubt() }
        let client = client
        let name = topicName
        core.worker.run(on: core.loop) { () -> Result<(String?, TopicView), KafkaError> in
            client.look(at: .topic(topic), timeout: limits.metadataTimeoutMilliseconds).map {
                (client.clusterID(timeout: 0), $0[name] ?? TopicView())
            }
        } then: { [weak self] answer in
            guard let self, !closed else { return }
            core.loop.cancel(doubts)
            looking = false
            let isWell = take(answer)
            if isWell { looks.succeeded() }
            let delay = isWell ? core.configuration.$livenessInterval : looks.failed(at: core.loop.now)
            lookTimer = core.loop.schedule(after: delay) { [weak self] in
                self?.lookTimer = nil
                self?.look()
            }
        }
    }

    /// Once more, a little later.
    func lookSoon() {
        if looking || closed { return }
        if let lookTimer { core.loop.cancel(lookTimer) }
        lookTimer = core.loop.schedule(after: looks.failed(at: core.loop.now)) { [weak self] in
            self?.lookTimer = nil
            self?.look()
        }
    }

    /// Whether the topic is there, with a leader for each partition.
    private func take(_ answer: Result<(String?, TopicView), KafkaError>) -> Bool {
        let known = table.numbers
        let view: TopicView
        switch answer {
        case .failure(let error) where error.isRefusal: view = TopicView(error: error)
        case .failure(let error):
            core.isDown(error)
            doubt()
            return false
        case .success((let cluster, let found)):
            view = found
            if let cluster, view.error == nil { see(cluster: cluster, count: view.partitions) }
        }
        core.isUp()
        if let error = view.error ?? (view.leaderless > 0 ? .leaderless : nil) {
            core.refuses(topicWords, error)
            doubt()
            if error.isMissingTopic { onMissingTopic(topicName) }
            return false
        }
        core.works(topicWords)
        if isDoubted {
            isDoubted = false
            restate(known)
        }
        return !table.isEmpty
    }

    /// Whatever the reason: nobody knows whether what is written arrives.
    func doubt() {
        if isDoubted || closed { return }
        isDoubted = true
        table.doubtAll()
        tellPosition()
    }

    /// Everything that may change whether all is positioned ends here.
    private func tellPosition() {
        let isPositioned = isPositioned
        guard isPositioned != hasToldPosition, !closed else { return }
        hasToldPosition = isPositioned
        positionedGauge.set(isPositioned ? 1 : 0)
        if isPositioned { onPositioned() } else { onUnpositioned() }
    }

    // MARK: Partitions

    private func see(cluster: String, count: Int32) {
        guard count > 0 else { return }
        let before = clusterID
        if before != cluster {
            clusterID = cluster
            onCluster(cluster)
            if before != nil {
                for partition in table.numbers { lose(partition) }
            }
        }
        // A topic never shrinks: this is another one of that name.
        if let last = table.numbers.last, last >= count { vanish() }
        let first = !hasBegun
        hasBegun = true
        let new = table.grow(to: count) { first ? startOffset($0) : Int64(RD_KAFKA_OFFSET_BEGINNING) }
        tellPosition()
        assign(new)
        // The stored position belongs to another cluster: whoever stored it must know.
        if first, case .offsets(let stored, let owner?) = start, owner != cluster {
            for partition in stored.keys.sorted() { onPositionLost(partition) }
        }
    }

    private func startOffset(_ partition: Int32) -> Int64 {
        switch start {
        case .end: Int64(RD_KAFKA_OFFSET_END)
        case .offsets(let stored, let owner):
            // A negative one means something else to librdkafka.
            owner == nil || owner == clusterID
                ? stored[partition].flatMap { $0 >= 0 ? $0 : nil } ?? Int64(RD_KAFKA_OFFSET_BEGINNING)
                : Int64(RD_KAFKA_OFFSET_BEGINNING)
        }
    }

    /// The topic was deleted. Whatever comes under its name is another one, read from its beginning: `look` finds it.
    func vanish() {
        let all = table.removeAll()
        if all.isEmpty { return }
        for partition in all { settle(partition) }
        unassign(all) {}
        tellPosition()
        // A consumer that starts at the end treats everything as changed once it is positioned again: nothing is read for that.
        if start == .end { hasBegun = false }
        for partition in all { onPositionLost(partition) }
    }

    /// Reads the partition anew: its stored position means nothing to the cluster.
    func lose(_ partition: Int32) {
        guard table[partition] != nil else { return }
        let target = Int64(start == .end ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING)
        if table.lose(partition, target: target) { move([partition]) }
        tellPosition()
        onPositionLost(partition)
    }

    /// Asks for partitions again at the place where they are: their next report says that they are read.
    private func restate(_ partitions: [Int32]) {
        move(partitions.filter { table.restate($0) })
        tellPosition()
    }

    /// In two steps: what is heard before the second is of the old place, what is heard afterwards of the new one.
    private func move(_ partitions: [Int32]) {
        let generation = table.generation
        unassign(partitions) { [weak self] in
            guard let self, table.generation == generation else { return }
            for partition in partitions { table.moved(partition) }
            assign(partitions)
        }
    }

    private func unassign(_ partitions: [Int32], then next: @escaping () -> Void) {
        if partitions.isEmpty || closed { return }
        let client = client
        let name = topicName
        core.worker.run(on: core.loop) {
            let offsets = Dictionary(uniqueKeysWithValues: partitions.map { ($0, Int64(RD_KAFKA_OFFSET_INVALID)) })
            let list = unsafe Self.list(name, offsets)
            defer { unsafe rd_kafka_topic_partition_list_destroy(list) }
            // Not assigned is as good as unassigned.
            if let error = unsafe rd_kafka_incremental_unassign(client.handle, list) {
                unsafe rd_kafka_error_destroy(error)
            }
        } then: { _ in
            next()
        }
    }

    /// Asks librdkafka to read from their targets, off the loop: the call waits for one of its threads.
    private func assign(_ partitions: [Int32]) {
        var offsets: [Int32: Int64] = [:]
        // Some may have gone, or be on the move again.
        for partition in partitions {
            if let state = table[partition], !state.isMoving { offsets[partition] = state.target }
        }
        if offsets.isEmpty || closed { return }
        let client = client
        let name = topicName
        let wanted = offsets
        let generation = table.generation
        core.worker.run(on: core.loop) { () -> KafkaError? in
            let list = unsafe Self.list(name, wanted)
            defer { unsafe rd_kafka_topic_partition_list_destroy(list) }
            guard let error = unsafe rd_kafka_incremental_assign(client.handle, list) else { return nil }
            defer { unsafe rd_kafka_error_destroy(error) }
            return unsafe KafkaError(rd_kafka_error_code(error), message: String(cString: rd_kafka_error_string(error)))
        } then: { [weak self] error in
            guard let self, !closed else { return }
            guard let error else { return assignments.succeeded() }
            core.report(error, "partitions were not assigned")
            core.loop.schedule(after: assignments.failed(at: core.loop.now)) { [weak self] in
                guard let self, table.generation == generation else { return }
                assign(partitions)
            }
        }
    }

    func position(_ partition: Int32, next: Int64) {
        table.position(partition, next: next)
        if !refusedPartitions.isEmpty { settle(partition) }
        tellPosition()
    }

    // MARK: Partitions that may not be read

    private func reading(_ partition: Int32) -> String { "Reading \(topicName)/\(partition)" }

    /// The broker does not let us read it. librdkafka goes on trying, but says nothing when it succeeds and there is
    /// nothing new: so it is asked for again now and then.
    func refused(_ partition: Int32, _ error: KafkaError) {
        guard table[partition] != nil else { return }
        core.isUp()
        core.refuses(reading(partition), error)
        refusedPartitions.insert(partition)
        table.doubt(partition)
        tellPosition()
        guard readTimer == nil else { return }
        readTimer = core.loop.schedule(after: readings.failed(at: core.loop.now)) { [weak self] in self?.readAgain() }
    }

    private func readAgain() {
        readTimer = nil
        guard !refusedPartitions.isEmpty, !closed else { return readings.succeeded() }
        restate(refusedPartitions.sorted())
        readTimer = core.loop.schedule(after: readings.failed(at: core.loop.now)) { [weak self] in self?.readAgain() }
    }

    private func settle(_ partition: Int32) {
        if refusedPartitions.remove(partition) != nil { core.works(reading(partition)) }
    }
}
