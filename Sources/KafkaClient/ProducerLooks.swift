import Reactor

/// When a producer looks at its cluster again.
struct ProducerLooks {
    var timer: TimerID?
    var isUnderWay = false
    /// While something is wrong.
    var backoff = RetryBackoff(first: 250_000_000, last: 10_000_000_000)
}

extension KafkaProducer {
    /// Asks the cluster for a sign of life and for this client's topics, off the loop; again and again, more often while
    /// something is wrong.
    func look() {
        guard !looks.isUnderWay, !closed else { return }
        looks.isUnderWay = true
        if let timer = looks.timer { core.loop.cancel(timer) }
        looks.timer = nil
        let client = client
        let timeout = core.configuration.limits.metadataTimeoutMilliseconds
        core.worker.run(on: core.loop) {
            client.look(at: .ownTopics, timeout: timeout)
        } then: { [weak self] answer in
            guard let self, !closed else { return }
            looks.isUnderWay = false
            switch answer {
            case .failure(let error): core.isDown(error)
            case .success(let views):
                core.isUp()
                for (name, view) in views { take(name, view) }
            }
            let isWell = core.state == .up
            if isWell { looks.backoff.succeeded() }
            let interval = core.configuration.$metadataInterval
            let delay = isWell ? interval : min(interval, looks.backoff.failed(at: core.loop.now))
            looks.timer = core.loop.schedule(after: delay) { [weak self] in
                self?.looks.timer = nil
                self?.look()
            }
        }
    }

    private func take(_ name: String, _ view: TopicView) {
        let words = Self.words(for: name)
        guard let error = view.error else { return core.works(words) }
        core.refuses(words, error)
        if error.isMissingTopic { onMissingTopic(name) }
    }
}
