/** Entry of the workbench. */

import { effect } from "@preact/signals";
import { render } from "preact";

import { App } from "./components/App";
import { t } from "./i18n";
import { reload, startPage } from "./state/page";
import { watchServer } from "./state/server";
import { startSettings } from "./state/settings";
import { watchCandles } from "./state/staleness";
import { parseAddress } from "./state/url";

const address = parseAddress(location.search);
await startSettings(address.settings);
effect(() => void (document.title = t("page.title")));
render(<App />, document.getElementById("app")!);
watchServer(() => void reload());
watchCandles();
await startPage(address);
