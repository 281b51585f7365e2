import Memory
import Reactor

/// Who watches which service: a list for each service, in constant time for each that comes and goes. What thousands must be
/// told is told in portions, one each turn of the loop.
final class HealthWatchers {
    /// Watchers that are told in one turn. Each costs an answer of some 20 bytes, about a microsecond.
    static let portion = 256

    private struct Watcher {
        let call: HealthService.WatchCall
        let service: WatchedService
        var told: HealthService.Status
        var next = Handle<Watcher>.none
        var previous = Handle<Watcher>.none
    }

    /// One service that somebody watches.
    private final class WatchedService {
        let name: String
        var first = Handle<Watcher>.none
        /// The next one to be told; none: all have been told.
        var cursor = Handle<Watcher>.none
        var status: HealthService.Status

        init(_ name: String, _ status: HealthService.Status) {
            self.name = name
            self.status = status
        }
    }

    private let loop: EventLoop
    private let watchers = Slab<Watcher>(initialCount: 8)
    private var services: [String: WatchedService] = [:]
    /// Services with a cursor.
    private var changed: [WatchedService] = []
    /// Where the walk over all of them is that ends all; nil: nobody ends.
    private var ending: (slot: UInt32, status: (String) -> HealthService.Status, error: RPCError)?
    private var hasTimer = false

    init(loop: EventLoop) { self.loop = loop }

    var count: Int { watchers.count }

    func add(_ call: HealthService.WatchCall, _ name: String, told: HealthService.Status) {
        watchers.reclaim()
        let service = services[name] ?? WatchedService(name, told)
        services[name] = service
        guard let handle = watchers.insert(Watcher(call: call, service: service, told: told)) else { return }
        watchers.find(handle)?.value.next = service.first
        watchers.find(service.first)?.value.previous = handle
        service.first = handle
        call.onCancel = { [weak self] in
            guard let self else { return }
            remove(handle)
            watchers.reclaim()
        }
    }

    /// The status of a service has changed. The first portion hears of it before this returns.
    func tell(_ status: HealthService.Status, of name: String) {
        guard let service = services[name] else { return }
        service.status = status
        if !changed.contains(where: { $0 === service }) { changed.append(service) }
        service.cursor = service.first
        var budget = Self.portion
        tell(service, &budget)
        goOnLater()
    }

    /// Tells everybody the last status and ends the call.
    func endAll(status: @escaping (String) -> HealthService.Status, _ error: RPCError) {
        ending = (0, status, error)
        work()
    }

    /// One portion of what is to be told.
    private func work() {
        var budget = Self.portion
        while budget > 0, let service = changed.last {
            tell(service, &budget)
            if service.cursor == .none { changed.removeAll { $0 === service } }
        }
        while budget > 0, let (slot, status, error) = ending {
            guard slot < watchers.end else {
                ending = nil
                break
            }
            ending?.slot = slot + 1
            guard let handle = watchers.handle(atSlot: slot), let place = watchers.find(handle) else { continue }
            budget -= 1
            let call = place.value.call
            let last = status(place.value.service.name)
            let isNews = place.value.told != last
            remove(handle)
            if isNews { call.send(HealthService.response(last)) }
            call.fail(error)
        }
        goOnLater()
    }

    /// The next portion is for the next turn.
    private func goOnLater() {
        watchers.reclaim()
        guard !changed.isEmpty || ending != nil, !hasTimer else { return }
        hasTimer = true
        loop.schedule(after: 0) { [weak self] in
            self?.hasTimer = false
            self?.work()
        }
    }

    private func tell(_ service: WatchedService, _ budget: inout Int) {
        while budget > 0, let place = watchers.find(service.cursor) {
            budget -= 1
            service.cursor = place.value.next
            guard place.value.told != service.status else { continue }
            place.value.told = service.status
            let call = place.value.call
            // It may end the call, and with it the watcher.
            call.send(HealthService.response(service.status))
        }
    }

    private func remove(_ handle: Handle<Watcher>) {
        guard let place = watchers.find(handle), watchers.remove(handle) else { return }
        let next = place.value.next
        let previous = place.value.previous
        let service = place.value.service
        watchers.find(next)?.value.previous = previous
        if let before = watchers.find(previous) { before.value.next = next } else { service.first = next }
        if service.cursor == handle { service.cursor = next }
        if service.first == .none { services[service.name] = nil }
    }
}
