/// The rules by which a trip finds its driver.
public enum Matching {
    /// A trip without a selected driver looks among so many of the nearest…
    public static let candidateLimit = 16
    /// …within so many metres of the pickup.
    public static let candidateRadius = 10_000.0
    /// Other drivers that are offered when the selected one was just taken.
    public static let alternativeLimit = 3

    /// A driver who may be booked.
    public struct Candidate: Hashable, Sendable {
        public let driverID: String
        /// Metres from the pickup.
        public let distance: Double

        public init(driverID: String, distance: Double) {
            self.driverID = driverID
            self.distance = distance
        }

        /// Nearest first; the lower id first at the same distance.
        static func isNearer(_ left: Candidate, _ right: Candidate) -> Bool {
            left.distance != right.distance ? left.distance < right.distance : left.driverID < right.driverID
        }
    }

    /// Whom to try, in this order, for a trip without a selected driver: the nearest 16 within `radius` metres that are not
    /// known to be taken. (The database has the last word on each.)
    public static func order(
        _ found: [Candidate], within radius: Double = candidateRadius, excluding taken: Set<String>
    ) -> [Candidate] {
        Array(free(found, radius, taken).prefix(candidateLimit))
    }

    /// Whom to offer when a booking was refused: the nearest three within `radius` metres that are not known to be taken.
    public static func alternatives(
        _ found: [Candidate], within radius: Double = .infinity, excluding taken: Set<String>
    ) -> [Candidate] {
        Array(free(found, radius, taken).prefix(alternativeLimit))
    }

    private static func free(_ found: [Candidate], _ radius: Double, _ taken: Set<String>) -> [Candidate] {
        found.filter { $0.distance <= radius && !taken.contains($0.driverID) }.sorted(by: Candidate.isNearer)
    }
}
