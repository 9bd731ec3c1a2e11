package commands

// globMatch reports whether s matches the pattern by Redis's rules: * ? [a-z]
// [^a] and \ for the next sign. Upper and lower case are the same: it is used
// for the names of settings and commands, which are ASCII. It backtracks to
// the last star only, so no pattern costs more than len(pattern) x len(s).
func globMatch(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if next, ok := globStep(pattern, p, s[i]); ok {
			p, i = next, i+1
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// globStep matches one sign against the pattern's element at p and returns
// where the next element begins.
func globStep(pattern string, p int, c byte) (next int, ok bool) {
	if p == len(pattern) {
		return p, false
	}
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return globClass(pattern, p+1, c)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, lower(pattern[p]) == lower(c)
}

// globClass matches the class that begins behind its bracket. One that is not
// closed ends with the pattern.
func globClass(pattern string, p int, c byte) (next int, ok bool) {
	negated := p < len(pattern) && pattern[p] == '^'
	if negated {
		p++
	}
	found := false
	for ; p < len(pattern) && pattern[p] != ']'; p++ {
		if pattern[p] == '\\' && p+1 < len(pattern) {
			p++
		}
		low, high := lower(pattern[p]), lower(pattern[p])
		if p+2 < len(pattern) && pattern[p+1] == '-' {
			high = lower(pattern[p+2])
			p += 2
		}
		if low > high {
			low, high = high, low
		}
		found = found || low <= lower(c) && lower(c) <= high
	}
	return min(p+1, len(pattern)), found != negated
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
