package cli

// Closest returns the one of the words that is most like a mistyped one, "" if none is like
// it. One typing mistake is allowed in three letters, and three at most.
func Closest(typed string, words []string) string {
	best, least := "", min((len([]rune(typed))+1)/3, 3)+1
	for _, word := range words {
		if d := distance([]rune(typed), []rune(word)); d < least {
			best, least = word, d
		}
	}
	return best
}

// DidYouMean returns the end of a message about a mistyped word: which one is meant, or the
// remedy if none is like it.
func DidYouMean(typed string, words []string, remedy string) string {
	if word := Closest(typed, words); word != "" {
		return "; did you mean " + word + "?"
	}
	return "; " + remedy
}

// distance returns how many letters have to be put in, left out, replaced or swapped with
// their neighbour to make b of a (the optimal string alignment distance).
func distance(a, b []rune) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
