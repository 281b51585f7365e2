import Access
import Testing

@Suite struct RolesTests {
    /// All sets of two, against the standard library's.
    @Test func itIsASet() {
        let sets = Role.allCases.flatMap { first in Role.allCases.map { [first, $0] } } + [[]]
        for first in sets {
            let left = Roles(first)
            #expect(left.words == Set(first).map(\.rawValue).sorted())
            #expect(left == Roles(words: first.map(\.rawValue) + ["nobody"]))
            for role in Role.allCases { #expect(left.contains(role) == first.contains(role)) }
            for second in sets {
                let right = Roles(second)
                #expect(left.isDisjoint(with: right) == Set(first).isDisjoint(with: second))
                #expect(left.isSubset(of: right) == Set(first).isSubset(of: second))
                #expect(left.union(right) == Roles(first + second))
            }
        }
    }
}
