/// A driver that was found.
public struct FoundDriver: Hashable, Sendable {
    public let slot: Int32
    /// Metres from the position that was asked for; nil when there was none.
    public let distance: Double?
}

extension DriverRegistry {
    /// The available drivers in `area`: nearest to its centre first when it has one, else by id; at most `limit`.
    /// `truncated`: more match (the nearest, or the lowest ids, are answered). With a `category`, only cars of it.
    public mutating func findAvailable(
        in area: Area, limit: Int, category: String? = nil
    ) -> (found: [FoundDriver], truncated: Bool) {
        let matches = category.map { [drivers] category in
            { (slot: Int32) in drivers[Int(slot)].profile.vehicle.category == category }
        }
        rank()
        let precedes = { [ranks] (left: Int32, right: Int32) in ranks[Int(left)] < ranks[Int(right)] }
        switch area {
        case .around(let center, let radius):
            let answer = index.nearest(to: center, radius: radius, limit: limit, where: matches, precedes: precedes)
            return (answer.hits.map { FoundDriver(slot: $0.member, distance: $0.metres) }, answer.truncated)
        case .box(let box):
            let answer = index.nearest(in: box, limit: limit, where: matches, precedes: precedes)
            return (answer.members.map { FoundDriver(slot: $0, distance: nil) }, answer.truncated)
        case .everywhere:
            var found: [FoundDriver] = []
            for slot in order where index.contains(slot) && matches?(slot) ?? true {
                if found.count == limit { return (found, true) }
                found.append(FoundDriver(slot: slot, distance: nil))
            }
            return (found, false)
        }
    }

    /// Every available driver in `box`, by id; nil if they are more than `limit`, of whom none is then sorted.
    /// - Parameter work: is lowered by the cells and drivers that were looked at.
    public mutating func available(in box: Box, atMost limit: Int, work: inout Int) -> [Int32]? {
        guard let members = index.members(in: box, atMost: limit, work: &work) else { return nil }
        rank()
        return members.sorted { ranks[Int($0)] < ranks[Int($1)] }
    }

    /// Drivers by id, those after `after` (nil: from the first), at most `limit`. `more`: there are further ones.
    public func page(
        status: DriverStatus?, after: String?, limit: Int
    ) -> (slots: [Int32], more: Bool) {
        var page: [Int32] = []
        let start = after.map { after in firstRank { $0 > after } } ?? 0
        for slot in order[start...] {
            if let status, drivers[Int(slot)].status != status { continue }
            if page.count == limit { return (page, true) }
            page.append(slot)
        }
        return (page, false)
    }

    /// The first place in `order` whose id fulfils `condition` (which all later ones do, too).
    func firstRank(where condition: (String) -> Bool) -> Int {
        var low = 0
        var high = order.count
        while low < high {
            let middle = (low + high) / 2
            if condition(drivers[Int(order[middle])].id) { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// Makes `ranks` again after drivers were added or removed: comparing numbers is what makes ordering by id cheap.
    private mutating func rank() {
        guard ranks.count != drivers.count else { return }
        ranks = [Int32](repeating: 0, count: drivers.count)
        for (rank, slot) in order.enumerated() { ranks[Int(slot)] = Int32(rank) }
    }
}
