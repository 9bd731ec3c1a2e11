package fsm

// match reports whether s matches a glob by Redis's rules: * ? [a-z] [^a] and
// backslash. It goes back to the last star only, so its time is at most
// len(glob) x len(s), whatever the pattern.
func match(glob, s string) bool {
	_, ok := matching(glob, s)
	return ok
}

// matching is match, and says how many bytes of the pattern it looked at.
func matching(glob, s string) (steps int, ok bool) {
	g, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		if g < len(glob) && glob[g] == '*' {
			star, mark = g, i
			g++
			continue
		}
		n, ok := matchOne(glob[g:], s[i])
		steps += max(n, 1)
		if ok {
			g += n
			i++
			continue
		}
		if star < 0 {
			return steps, false
		}
		mark++
		g, i = star+1, mark
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return steps, g == len(glob)
}

// matchOne matches one byte against the head of glob and returns the head's length.
func matchOne(glob string, c byte) (n int, ok bool) {
	if glob == "" {
		return 0, false
	}
	switch glob[0] {
	case '?':
		return 1, true
	case '[':
		return matchClass(glob, c)
	case '\\':
		if len(glob) > 1 {
			return 2, glob[1] == c
		}
	}
	return 1, glob[0] == c
}

// matchClass matches one byte against [...]; a missing bracket ends with the
// pattern, as Redis has it.
func matchClass(glob string, c byte) (n int, ok bool) {
	i := 1
	not := i < len(glob) && glob[i] == '^'
	if not {
		i++
	}
	for ; i < len(glob) && glob[i] != ']'; i++ {
		switch {
		case glob[i] == '\\' && i+1 < len(glob):
			i++
			ok = ok || glob[i] == c
		case i+2 < len(glob) && glob[i+1] == '-':
			lo, hi := min(glob[i], glob[i+2]), max(glob[i], glob[i+2])
			i += 2
			ok = ok || lo <= c && c <= hi
		default:
			ok = ok || glob[i] == c
		}
	}
	return min(i+1, len(glob)), ok != not
}
