package guest

import "testing"

func TestScriptOutput(t *testing.T) {
	for _, c := range []struct {
		name, text, output string
		status             int
		ended              bool
	}{
		{"nothing yet", "", "", -1, false},
		{"before the script", "kernel\n@@zimg-guest begin", "", -1, false},
		{"begun", "kernel\n@@zimg-guest begin@@\n", "", -1, false},
		{"in the middle", "\n@@zimg-guest begin@@\na\nb", "a\nb", -1, false},
		{"half a mark", "\n@@zimg-guest begin@@\na\n\n@@zimg-guest end 1", "a\n\n@@zimg-guest end 1", -1, false},
		{"no output", "\n@@zimg-guest begin@@\n\n@@zimg-guest end 3@@\npower down", "", 3, true},
		{"no newline", "\n@@zimg-guest begin@@\na\n@@zimg-guest end 0@@\n", "a", 0, true},
		{"newlines", "\n@@zimg-guest begin@@\na\n\n\n@@zimg-guest end 12@@\n", "a\n\n", 12, true},
		{"its own mark", "\n@@zimg-guest begin@@\n@@zimg-guest end 9@@\n\n@@zimg-guest end 1@@\n", "@@zimg-guest end 9@@\n", 1, true},
	} {
		output, status, ended := scriptOutput(c.text)
		if output != c.output || status != c.status || ended != c.ended {
			t.Errorf("%s: %q, %d, %t; want %q, %d, %t", c.name, output, status, ended, c.output, c.status, c.ended)
		}
	}
}
