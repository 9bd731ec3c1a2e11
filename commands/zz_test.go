package commands
import ("testing";"os";"time";"strings")
func TestZZ(t *testing.T){ if os.Getenv("ZZ")=="" {t.Skip()}; w:=newWorld(t,""); os.WriteFile("/tmp/rc/port",[]byte(w.addr[strings.LastIndexByte(w.addr,':')+1:]),0o644); time.Sleep(40*time.Second)}
