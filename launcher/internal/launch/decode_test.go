package launch

import "testing"

// What other lifecycles and packrunner write: were one of these left to the general decoder, nothing would be wrong but
// the time it takes.
func TestTheUsualShapesAreDecodedQuickly(t *testing.T) {
	const process = "[[processes]]\ntype = \"web\"\ncommand = [\n    \"a\",\n]\nargs = []\ndirect = true\nbuildpack-id = \"a/b\"\nexec-env = [\"*\"]\n"
	for name, content := range map[string]string{
		"nothing":        "",
		"list of tables": "buildpack-default-process-type = \"web\"\n[[buildpacks]]\nid = \"a/b\"\nversion = \"1\"\napi = \"0.12\"\nhomepage = \"h\"\n" + process + process,
		"inline tables":  "buildpacks = [\n    { id = \"a/b\", version = \"1\", api = \"0.12\" },\n]\nprocesses = []\n[[labels]]\nkey = \"k\"\nvalue = \"v\"\n[[slices]]\npaths = [\"a\"]\n",
	} {
		if found, ok := decodeQuickly([]byte(content)); !ok {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
