/** The head of the page: brand, language, looks. */

import { Menu } from "../../../src/components/controls";
import { LookFields, PageHeader } from "../../../src/components/PageHeader";
import { t } from "../../../src/i18n";
import { simulated } from "../state/file";
import { text } from "../texts";

export function Header() {
  return (
    <PageHeader name={text("page.name")} simulated={simulated.value}>
      <Menu label={t("page.settings")} class="right">
        {() => (
          <div class="settings">
            <LookFields />
          </div>
        )}
      </Menu>
    </PageHeader>
  );
}
